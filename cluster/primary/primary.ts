// The primary: forks the workers, keeps every place held, reloads them one by one and drains them in order. It serves
// no traffic, opens no connection to a database and never handles a signal: cli/start.ts says when.
//
//   idle ── start() ──► running ── stop(), or a place gives up ──► draining ──► ended
//
//   draining: all `http` processes (nothing new is claimed) → `ledger` (what was claimed is written) → `admin` (operators
//   see it to the end). hurry() kills what is left instead. Nothing is restarted and no reload goes on in this state.
//   reload while running: admin → http → ledger, one place at a time, and the first that fails ends it: code that does not
//   start reaches the ledger, of which there is one, last. A reload asked for during a reload follows it, once.
import cluster from 'node:cluster';
import type { Worker } from 'node:cluster';
import type { Log } from '../../platform/log.js';
import type { Metrics } from '../../platform/metrics/metrics.js';
import type { Settings } from '../../platform/settings.js';
import type { ProcessStatus, Role } from '../actor.js';
import { EXIT } from '../exit-codes.js';
import type { ExitCode } from '../exit-codes.js';
import { InstanceMetrics } from './instance-metrics.js';
import { SUPERVISION_LIMITS } from './limits.js';
import type { SupervisionLimits } from './limits.js';
import { NODE_OPTIONS_OF_ROLE } from './node-options.js';
import { Place } from './place.js';

const BYTES_PER_MB = 1024 * 1024;
const DRAIN_ORDER: readonly Role[] = ['http', 'ledger', 'admin'];
const RELOAD_ORDER: readonly Role[] = ['admin', 'http', 'ledger'];

export interface PrimaryOptions {
  readonly settings: Pick<Settings, 'httpWorkers' | 'drainTimeoutMs' | 'workerMemoryMaxMb'>;
  /** Absolute path of the script that every worker runs. */
  readonly workerScript: string;
  /** On top of this process's own environment: what the start has found out, such as `REDIS_URL`. */
  readonly workerEnvironment: Readonly<Record<string, string>>;
  readonly log: Log;
  /** Of this process. */
  readonly metrics: Metrics;
  /** Called before a worker is replaced for its memory; resolves with the file, if there is one. Must not reject. */
  readonly saveHeapProfile?: (worker: string) => Promise<string | undefined>;
  readonly limits?: Partial<SupervisionLimits>;
  /** Called after every change in `processes()`. */
  readonly onChange?: () => void;
}

/** How the supervision ended; `message` is one line for people when something went wrong. */
export interface Ending {
  readonly code: ExitCode;
  readonly message?: string;
}

export type Reloaded =
  | { readonly result: 'done' | 'stopping' }
  /** The place whose new process did not become ready. */
  | { readonly result: 'ended_early'; readonly at: string };

export class Primary {
  /** Resolves when every worker is gone. Never rejects. */
  readonly ended: Promise<Ending>;
  readonly #options: PrimaryOptions;
  readonly #places: readonly Place[];
  readonly #metrics: InstanceMetrics;
  readonly #startedAt = Date.now();
  #resolveEnded!: (ending: Ending) => void;
  #draining = false;
  #hurried = false;
  #lastTurn: Promise<void> = Promise.resolve();
  #nextReload: Promise<Reloaded> | undefined;

  constructor(options: PrimaryOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    const counts: Record<Role, number> = { http: options.settings.httpWorkers, ledger: 1, admin: 1 };
    this.#places = DRAIN_ORDER.flatMap((role) =>
      Array.from({ length: counts[role] }, (_, index) => this.#place(`${role}-${index + 1}`, role)),
    );
    this.#metrics = new InstanceMetrics(options.metrics, this.#places, () => this.processes());
  }

  /** Forks all workers, in parallel: each waits by itself for the databases it needs. */
  start(): void {
    // The kernel hands connections out. Node's round robin would pass each through this process, and one that is on its way
    // to a worker that dies just then hangs for ever (measured: one for each kill -9). The price: few connections may
    // spread unevenly (200 as 67 : 133), many do not (2,000 as 1,008 : 992).
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    for (const place of this.#places) place.open();
  }

  /** True while every place is held by a process that is ready. */
  get ready(): boolean {
    return !this.#draining && this.#places.every((place) => place.ready);
  }

  /** Every process of the instance, this one first. */
  processes(): ProcessStatus[] {
    const state = this.#draining ? 'draining' : this.ready ? 'ready' : 'unready';
    return [
      {
        name: 'primary',
        role: 'primary',
        pid: process.pid,
        state,
        unreadyReasons: [],
        startedAt: this.#startedAt,
        restarts: 0,
      },
      ...this.#places.flatMap((place) => place.statuses),
    ];
  }

  /** Drains in order; `ended` follows. A repeat changes nothing. */
  stop(): void {
    this.#endWith({ code: EXIT.ok });
  }

  /** Kills what is left of the workers; `ended` follows with `EXIT.hurried`. */
  hurry(): void {
    this.#hurried = true;
    this.stop();
    for (const place of this.#places) place.kill();
  }

  /**
   * Replaces the process of every place, one by one. Failures are logged and leave the old process in place. Resolves with how
   * it ended; never rejects.
   */
  reload(): Promise<Reloaded> {
    if (this.#draining) return Promise.resolve({ result: 'stopping' });
    // One that waits for its turn will find every place as it is then.
    this.#nextReload ??= this.#inTurn(() => {
      this.#nextReload = undefined;
      return this.#reloadAll();
    });
    return this.#nextReload;
  }

  async #reloadAll(): Promise<Reloaded> {
    const { log } = this.#options;
    log.info('reload begins');
    for (const place of inOrder(this.#places, RELOAD_ORDER)) {
      const replaced = await place.replace();
      if (this.#draining) return { result: 'stopping' };
      if (!replaced) {
        log.error({ worker: place.name }, 'reload ended early');
        this.#metrics.reloaded('ended_early');
        return { result: 'ended_early', at: place.name };
      }
    }
    log.info('reload done');
    this.#metrics.reloaded('done');
    return { result: 'done' };
  }

  /** A worker that uses too much memory is replaced like in a reload; what it holds is saved first, where that can be seen. */
  #relieve(place: Place, rssBytes: number, isStill: () => boolean): void {
    const { log, saveHeapProfile } = this.#options;
    const relieved = this.#inTurn(async () => {
      if (!isStill()) return;
      const profile = await saveHeapProfile?.(place.name);
      log.warn({ worker: place.name, rssBytes, profile }, 'worker uses more memory than it may, replacing it');
      this.#metrics.relieved(place.role);
      await place.replace();
    });
    relieved.catch((error: unknown) => log.error({ err: error, worker: place.name }, 'worker not replaced'));
  }

  /** Replacing goes on in one place at a time. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(work);
    const over = (): void => undefined;
    this.#lastTurn = turn.then(over, over);
    return turn;
  }

  #endWith(ending: Ending): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#options.log.info('drain begins');
    this.#drainAll().then(
      (complete) => {
        this.#options.log.info({ complete }, 'drain done');
        if (ending.code !== EXIT.ok) this.#resolveEnded(ending);
        else if (this.#hurried) this.#resolveEnded({ code: EXIT.hurried });
        else if (complete) this.#resolveEnded(ending);
        else
          this.#resolveEnded({
            code: EXIT.drainIncomplete,
            message: 'not every worker could finish what it had; see the log',
          });
      },
      (error: unknown) => {
        this.#options.log.error({ err: error }, 'drain failed');
        this.#resolveEnded({ code: EXIT.failed, message: 'the drain failed; see the log' });
      },
    );
  }

  /** True if every process ended by itself. */
  async #drainAll(): Promise<boolean> {
    let complete = true;
    for (const place of this.#places) place.close();
    for (const role of DRAIN_ORDER) {
      const places = this.#places.filter((place) => place.role === role);
      const ended = await Promise.all(places.map((place) => place.drain()));
      complete &&= ended.every(Boolean);
    }
    return complete;
  }

  #place(name: string, role: Role): Place {
    const { settings, log, limits, onChange } = this.#options;
    const { workerMemoryMaxMb } = settings;
    const place = new Place({
      name,
      role,
      fork: (...of) => this.#fork(...of),
      processes: () => this.processes(),
      instanceMetrics: () => this.#metrics.gather(),
      drainTimeoutMs: settings.drainTimeoutMs,
      memoryBytesMax: workerMemoryMaxMb === undefined ? undefined : workerMemoryMaxMb * BYTES_PER_MB,
      limits: { ...SUPERVISION_LIMITS, ...limits },
      log,
      onChange: () => onChange?.(),
      onHeavy: (rssBytes, isStill) => this.#relieve(place, rssBytes, isStill),
      onGiveUp: (code, message) => {
        log.error({ worker: name, code }, message);
        this.#endWith({ code, message });
      },
    });
    return place;
  }

  #fork(name: string, role: Role): Worker {
    // Settings of the next fork, those of Node's own options among them; what the operator gave stays the last word.
    const execArgv = [...NODE_OPTIONS_OF_ROLE[role], ...process.execArgv];
    cluster.setupPrimary({ exec: this.#options.workerScript, args: [], execArgv });
    return cluster.fork({ ...this.#options.workerEnvironment, STAMPEDE_NAME: name, STAMPEDE_ROLE: role });
  }
}

function inOrder(places: readonly Place[], roles: readonly Role[]): Place[] {
  return roles.flatMap((role) => places.filter((place) => place.role === role));
}
