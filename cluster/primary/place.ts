// One place of the cluster (`http-1`): it outlives the processes that hold it, and supervises them.
//
//   empty ── open() ──► held ── its process dies ──► backoff ── the wait is over ──► held …
//
//   A death counts twice. For the wait: deaths in a row, forgotten after `stableAfterMs` of life. For giving up: deaths in
//   a row of processes that never started; at `deathsBeforeStartMax` the place gives up with `EXIT.crashLoop`, and an exit
//   with `EXIT.configuration` makes it give up at once, for no restart could help.
//   close(), drain() and kill() close the place for good: nothing is restarted afterwards.
//
// A reload (replace()) of a role that allows two processes side by side adds a successor, and only when that is ready the
// predecessor is drained; a successor that fails is forgotten and the predecessor stays. `ledger` may exist once only (its
// name is the consumer's name in Redis): there the predecessor drains first.
import type { Worker } from 'node:cluster';
import type { Log } from '../../platform/log.js';
import { mergeSnapshots } from '../../platform/metrics/merge.js';
import type { Snapshot } from '../../platform/metrics/snapshot.js';
import type { ProcessStatus, Role } from '../actor.js';
import { EXIT } from '../exit-codes.js';
import type { ExitCode } from '../exit-codes.js';
import { backoffDelayMs } from './backoff.js';
import type { SupervisionLimits } from './limits.js';
import { WorkerProcess } from './worker-process.js';
import type { Exit } from './worker-process.js';

/** Roles of which two processes may run at once in one place. */
const SIDE_BY_SIDE: Readonly<Record<Role, boolean>> = { http: true, admin: true, ledger: false };

export interface PlaceOptions {
  readonly name: string;
  readonly role: Role;
  readonly fork: (name: string, role: Role) => Worker;
  readonly processes: () => ProcessStatus[];
  readonly instanceMetrics: () => Promise<Snapshot[]>;
  readonly drainTimeoutMs: number;
  readonly limits: SupervisionLimits;
  readonly log: Log;
  readonly memoryBytesMax: number | undefined;
  readonly onChange: () => void;
  /** The process that holds the place uses more memory than it may; `isStill` says later whether it still holds it. */
  readonly onHeavy: (rssBytes: number, isStill: () => boolean) => void;
  /** The place cannot go on. Called at most once per death; the caller stops the cluster. */
  readonly onGiveUp: (code: ExitCode, message: string) => void;
}

export class Place {
  readonly name: string;
  readonly role: Role;
  readonly #options: PlaceOptions;
  /** The process that holds the place: the one whose death is followed by a restart. */
  #holder: WorkerProcess | undefined;
  /** Every process of this place that has not exited: holder, successor, draining predecessor. */
  readonly #alive = new Set<WorkerProcess>();
  #backoff: NodeJS.Timeout | undefined;
  #backoffSince = 0;
  #deathsInARow = 0;
  /** A process of this place has started, and ended by something else than its configuration. */
  #hasWorked = false;
  #deathsBeforeStart = 0;
  #restarts = 0;
  /** What the processes counted that held this place and are gone. */
  #totals: Snapshot = [];
  #closed = false;
  /** A process died instead of draining, or there was none to drain. */
  #incomplete = false;

  constructor(options: PlaceOptions) {
    this.name = options.name;
    this.role = options.role;
    this.#options = options;
  }

  get ready(): boolean {
    return this.#holder?.state === 'ready';
  }

  /** The processes of this place; while it waits for a restart, one entry in `backoff` with pid 0. */
  get statuses(): ProcessStatus[] {
    const restarts = this.#restarts;
    const statuses: ProcessStatus[] = [...this.#alive].map((process) => ({ ...process.status, restarts }));
    if (this.#backoff !== undefined) {
      const { name, role } = this;
      statuses.push({
        name,
        role,
        pid: 0,
        state: 'backoff',
        unreadyReasons: [],
        startedAt: this.#backoffSince,
        restarts,
      });
    }
    return statuses;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /**
   * The metrics of its processes, and the totals of those that are gone. One that does not answer is counted in `silent`, and
   * what it has told before stands for it: a counter that went back would look like a restart. Never rejects.
   */
  async metrics(): Promise<{ snapshots: Snapshot[]; silent: number }> {
    const asked = await Promise.all(
      [...this.#alive].map(async (process) => ({ process, snapshot: await process.metrics() })),
    );
    // Who has ended meanwhile is in the totals.
    const living = asked.filter(({ process }) => this.#alive.has(process));
    const snapshots = living.map(({ process, snapshot }) => snapshot ?? process.totals);
    return {
      snapshots: [this.#totals, ...snapshots],
      silent: living.filter(({ snapshot }) => snapshot === undefined).length,
    };
  }

  /** Forks the process that holds the place. */
  open(): void {
    if (!this.#closed) this.#hold();
  }

  /** Puts a new process into the place. True if it is ready; false if it is not, or the place was closed meanwhile. */
  async replace(): Promise<boolean> {
    if (this.#closed) return false;
    return SIDE_BY_SIDE[this.role] ? this.#replaceSideBySide() : this.#replaceInTurn();
  }

  /** From now on nothing is restarted; the processes go on until drain() or kill(). */
  close(): void {
    if (this.#backoff !== undefined) this.#incomplete = true;
    this.#closed = true;
    this.#cancelBackoff();
  }

  /** Closes the place: every process finishes, or is killed at the limit. True if the last ones ended by themselves. */
  async drain(): Promise<boolean> {
    this.close();
    await Promise.all([...this.#alive].map((process) => process.drain(this.#options.drainTimeoutMs)));
    return !this.#incomplete;
  }

  /** Closes the place with SIGKILL. A drain() that is under way ends with it. */
  kill(): void {
    this.close();
    for (const process of this.#alive) process.kill();
  }

  async #replaceSideBySide(): Promise<boolean> {
    const { limits, drainTimeoutMs } = this.#options;
    const successor = this.#fork();
    if (!(await successor.whenReady(limits.reloadReadyMs)) || this.#closed) {
      this.#logUnlessClosed('the new worker did not become ready, the old one stays');
      // A closed place has asked it to drain.
      if (!this.#closed) successor.kill();
      await successor.exited;
      return false;
    }
    // The predecessor may have died meanwhile: then its restart, under way or still waiting, is what the successor replaces.
    const predecessor = this.#holder;
    this.#cancelBackoff();
    this.#holder = successor;
    this.#deathsInARow = 0;
    await predecessor?.drain(drainTimeoutMs);
    return true;
  }

  async #replaceInTurn(): Promise<boolean> {
    const { limits, drainTimeoutMs } = this.#options;
    const predecessor = this.#holder;
    this.#cancelBackoff();
    this.#holder = undefined;
    await predecessor?.drain(drainTimeoutMs);
    if (this.#closed) return false;
    const ready = await this.#hold().whenReady(limits.reloadReadyMs);
    if (!ready) this.#logUnlessClosed('the new worker is not ready yet, supervision goes on');
    return ready;
  }

  #hold(): WorkerProcess {
    this.#holder = this.#fork();
    return this.#holder;
  }

  #fork(): WorkerProcess {
    const { fork, onChange, onHeavy, ...options } = this.#options;
    const { name, role } = options;
    const process = new WorkerProcess({ ...options, fork: () => fork(name, role) });
    this.#alive.add(process);
    process.on('change', onChange);
    process.on('heavy', (rssBytes) => {
      const isStill = (): boolean => process === this.#holder;
      if (isStill()) onHeavy(rssBytes, isStill);
    });
    // `exited` never rejects, and what follows does not throw: there is nothing to catch.
    process.exited.then(
      (exit) => this.#onExit(process, exit),
      () => undefined,
    );
    onChange();
    return process;
  }

  #onExit(process: WorkerProcess, exit: Exit): void {
    this.#alive.delete(process);
    this.#totals = mergeSnapshots([this.#totals, process.totals]);
    const isHolder = process === this.#holder;
    const expected = this.#closed || !isHolder;
    const { code, signal, uptimeMs, fatalMessage: reason } = exit;
    this.#options.log[expected ? 'info' : 'error'](
      { worker: this.name, code, signal, uptimeMs, reason },
      'worker exited',
    );
    if (isHolder) this.#holder = undefined;
    if (this.#closed && code !== EXIT.ok) this.#incomplete = true;
    if (!expected) this.#afterDeath(exit);
    if (exit.started && code !== EXIT.configuration) this.#hasWorked = true;
    this.#options.onChange();
  }

  #afterDeath(exit: Exit): void {
    const { limits, log, onGiveUp } = this.#options;
    // Of a place that has worked, only what surrounds it can have changed, such as the tables of a newer version: the others go on.
    if (exit.code === EXIT.configuration && !this.#hasWorked) {
      onGiveUp(EXIT.configuration, exit.fatalMessage ?? `${this.name} found its configuration wrong; its log says why`);
      return;
    }
    if (exit.code !== EXIT.configuration) this.#deathsBeforeStart = exit.started ? 0 : this.#deathsBeforeStart + 1;
    if (this.#deathsBeforeStart >= limits.deathsBeforeStartMax) {
      const how = exit.signal ?? `exit code ${exit.code ?? 'unknown'}`;
      onGiveUp(
        EXIT.crashLoop,
        `${this.name} died ${this.#deathsBeforeStart} times in a row before it had started (last: ${how})`,
      );
      return;
    }
    this.#deathsInARow = exit.uptimeMs >= limits.stableAfterMs ? 1 : this.#deathsInARow + 1;
    const delayMs = backoffDelayMs(this.#deathsInARow, limits);
    log.warn({ worker: this.name, delayMs, deaths: this.#deathsInARow }, 'worker restarts after a wait');
    this.#backoffSince = Date.now();
    this.#backoff = setTimeout(() => {
      this.#backoff = undefined;
      this.#restarts += 1;
      this.open();
    }, delayMs);
  }

  #logUnlessClosed(text: string): void {
    if (!this.#closed) this.#options.log.error({ worker: this.name }, text);
  }

  #cancelBackoff(): void {
    clearTimeout(this.#backoff);
    this.#backoff = undefined;
  }
}
