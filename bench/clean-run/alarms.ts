// Asks every process of a healthy service again and again what its detector says, and keeps each word that is not `clean`:
// which line, how bad, when, for how long. Changes nothing in the service.
import { setTimeout as delay } from 'node:timers/promises';
import { listDebugSockets } from '../../diagnostics/endpoints/proxy.js';
import { gather } from '../../diagnostics/gather/gather.js';
import type { LeakSite } from '../../diagnostics/model.js';

/** Half as long as between two samples of a process: none of its verdicts is missed. */
const LOOK_EVERY_MS = 2_500;

export interface Alarm {
  readonly process: string;
  /** The worst that was said. */
  verdict: LeakSite['verdict'];
  /** With the numbers of the last time. */
  site: LeakSite;
  /** What went on when it was said first. */
  readonly during: string;
  /** ms since the run began. */
  readonly firstMs: number;
  /** Looks at which it was said: `LOOK_EVERY_MS` apart. */
  times: number;
}

export class Alarms {
  readonly #byPlace = new Map<string, Alarm>();
  readonly #startedAt = performance.now();
  #looks = 0;

  /** Of processes that answered. */
  get looks(): number {
    return this.#looks;
  }

  /** In the order in which they were given. */
  get all(): readonly Alarm[] {
    return [...this.#byPlace.values()];
  }

  /** Until `over`. `now` says what goes on; `tell` hears of each alarm that is new or has become worse. */
  async watch(socketFolder: string, over: AbortSignal, now: () => string, tell: (alarm: Alarm) => void): Promise<void> {
    while (!over.aborted) {
      const sockets = await listDebugSockets(socketFolder);
      const processes = sockets.map((socket) => ({ ...socket, role: '', pid: 0, state: '' }));
      for (const { name, summary } of await gather(processes)) {
        if (summary === undefined) continue;
        this.#looks += 1;
        for (const site of summary.leaks.sites) this.#note(name, site, now(), tell);
      }
      await delay(LOOK_EVERY_MS, undefined, { signal: over }).catch(() => undefined);
    }
  }

  #note(process: string, site: LeakSite, during: string, tell: (alarm: Alarm) => void): void {
    const at = performance.now() - this.#startedAt;
    const place = `${process} ${site.kind} ${site.type} ${lineOf(site)}`;
    const known = this.#byPlace.get(place);
    const alarm = known ?? { process, verdict: site.verdict, site, during, firstMs: at, times: 0 };
    const isWorse = alarm.verdict === 'suspect' && site.verdict === 'leaking';
    Object.assign(alarm, { site, times: alarm.times + 1, ...(isWorse && { verdict: site.verdict }) });
    this.#byPlace.set(place, alarm);
    if (known === undefined || isWorse) tell(alarm);
  }
}

/** The innermost line of the stack. */
export function lineOf({ stack: [frame] }: LeakSite): string {
  return frame === undefined ? 'no line' : `${frame.functionName} ${frame.file}:${frame.line}`;
}
