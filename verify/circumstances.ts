// Watches, during a run, what decides which losses a level permits: when everything was in MySQL, when Redis may have
// forgotten, and which instances had an http worker that died or could not be heard.
import { setTimeout as delay } from 'node:timers/promises';
import type { Ack } from '../coupons/definition.js';
import type { Deployment } from './deployment.js';
import { FAULT_KINDS } from './fault-kinds.js';
import type { HappenedFault } from './faults.js';
import type { Circumstances } from './history.js';
import { now } from './history.js';
import { isSettled } from './recovery.js';

const INTERVAL_MS = 500;

export class SettledWatch {
  readonly moments: number[] = [];
  readonly #deployment: Deployment;

  constructor(deployment: Deployment) {
    this.#deployment = deployment;
  }

  /** Looks again and again until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look();
      await delay(INTERVAL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** The moment counts from before the look: what is told during it may not be in MySQL. */
  async look(): Promise<void> {
    const moment = now();
    if (await isSettled(this.#deployment)) this.moments.push(moment);
  }
}

export function circumstancesOf(
  ack: Ack,
  redisForgets: boolean,
  faults: readonly HappenedFault[],
  settled: readonly number[],
  releasedAt: number | null,
): Circumstances {
  const effects = new Map(FAULT_KINDS.map((kind) => [kind.name, kind.effect]));
  return {
    ...{ ack, redisForgets, settled, releasedAt },
    // A moment more at either end: Redis may die a little before the signal to kill it has returned.
    forgot: faults
      .filter((fault) => effects.get(fault.fault)?.redisEnds === true)
      .flatMap((fault) => [fault.beganAt, fault.endedAt]),
    away: faults.flatMap((fault) => {
      const workers = effects.get(fault.fault)?.workers;
      if (workers === undefined) return [];
      const from = fault.beganAt;
      const to = workers === 'die' ? Infinity : fault.endedAt;
      return instancesOf(fault).map((instance) => ({ instance, from: workers === 'die' ? fault.endedAt : from, to }));
    }),
  };
}

function instancesOf({ target }: HappenedFault): number[] {
  if (target === 'everything') return [1, 2];
  if (target === 'instance-1') return [1];
  return target === 'instance-2' ? [2] : [];
}
