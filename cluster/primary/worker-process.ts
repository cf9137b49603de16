// One forked process, from its fork to its exit: its state, its line, its heartbeat. A process is never started again:
// cluster/primary/place.ts forks another one.
//
//              `started`, reasons        `readiness`, none
//   starting ────────────────────► unready ◄────────────────► ready
//      │  └──────── `started`, no reasons ──────────────────►   │
//      │ drain()                      │ drain()                 │ drain()
//      └──────────────────────────► draining ◄──────────────────┘
//
//   From every state the exit of the process leads to `exited`; SIGKILL is sent when the heartbeat finds it silent, at
//   the deadline of a drain, and by kill(). Nothing leads back from `draining` or `exited`.
import { EventEmitter, once } from 'node:events';
import type { Worker } from 'node:cluster';
import type { Log } from '../../platform/log.js';
import type { ProcessStatus, Role } from '../actor.js';
import { Channel } from '../channel.js';
import { totalsOf } from '../../platform/metrics/snapshot.js';
import type { Snapshot } from '../../platform/metrics/snapshot.js';
import type { Answers } from '../messages.js';
import { Heartbeat } from './heartbeat.js';
import { KILL_GRACE_MS } from './limits.js';
import type { SupervisionLimits } from './limits.js';
import { MemoryWatch } from './memory-watch.js';

const LAST_WORDS_TIMEOUT_MS = 1_000;
/** Longer than a collector may take, shorter than an operator's request for the metrics of all processes. */
const METRICS_TIMEOUT_MS = 1_000;

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
  /** What the worker said before it exited with `EXIT.configuration`. */
  readonly fatalMessage: string | undefined;
  /** Whether its actor had started. */
  readonly started: boolean;
  readonly uptimeMs: number;
}

export type WorkerState = Exclude<ProcessStatus['state'], 'backoff'> | 'exited';

export interface WorkerProcessOptions {
  readonly name: string;
  readonly role: Role;
  readonly fork: () => Worker;
  readonly processes: () => Answers['processes'];
  readonly instanceMetrics: () => Promise<Answers['instanceMetrics']>;
  readonly limits: SupervisionLimits;
  readonly memoryBytesMax: number | undefined;
  readonly log: Log;
}

/** Emits `change` at every change of its state or reasons, the exit included, and `heavy` when it uses more memory than it may. */
export class WorkerProcess extends EventEmitter<{ change: []; heavy: [rssBytes: number] }> {
  readonly startedAt = Date.now();
  /** Never rejects. */
  readonly exited: Promise<Exit>;
  readonly #options: WorkerProcessOptions;
  readonly #worker: Worker;
  readonly #channel: Channel;
  readonly #heartbeat: Heartbeat;
  readonly #slowStart: NodeJS.Timeout;
  readonly #log: Log;
  #state: WorkerState = 'starting';
  #unreadyReasons: string[] = [];
  #started = false;
  /** It has said hello: what is sent to it arrives. */
  #listens = false;
  #totals: Snapshot = [];
  #fatalMessage: string | undefined;
  /** Epoch milliseconds. */
  #drainDeadline: number | undefined;

  constructor(options: WorkerProcessOptions) {
    super();
    const forkedAt = performance.now();
    const worker = options.fork();
    this.#options = options;
    this.#worker = worker;
    this.#log = options.log.child({ worker: options.name, workerPid: worker.process.pid });
    const { memoryPongsMin: timesMin, memoryPauseMs: pauseMs } = options.limits;
    const memory = new MemoryWatch({ bytesMax: options.memoryBytesMax, timesMin, pauseMs }, (rssBytes) =>
      this.emit('heavy', rssBytes),
    );
    this.#channel = new Channel({
      peer: options.name,
      // A line that broke is followed by an exit or by a silent heartbeat: both are dealt with there.
      send: (message) => worker.send(message, () => undefined),
      notices: {
        hello: () => {
          this.#listens = true;
          this.#sendDrain();
        },
        started: (message) => this.#becomeStarted(message.unreadyReasons),
        readiness: (message) => this.#setReasons(message.unreadyReasons),
        fatal: (message) => (this.#fatalMessage = message.message),
        standstill: ({ forMs }) => this.#heartbeat.standstill(forMs),
        pong: ({ rssBytes }) => memory.heard(rssBytes),
        totals: (message) => (this.#totals = message.snapshot),
      },
      answers: { processes: options.processes, instanceMetrics: options.instanceMetrics },
      log: this.#log,
    });
    worker.on('message', (raw) => {
      this.#heartbeat.heard();
      this.#channel.receive(raw);
    });
    this.#heartbeat = new Heartbeat({
      ping: () => this.#channel.notify({ kind: 'ping' }),
      onSilent: () => {
        this.#log.error({ pings: options.limits.heartbeatMissesMax }, 'worker does not answer, killing it');
        this.kill();
      },
      intervalMs: options.limits.heartbeatIntervalMs,
      missesMax: options.limits.heartbeatMissesMax,
    });
    this.#slowStart = setTimeout(() => this.#log.warn('worker is still starting'), options.limits.slowStartMs);
    this.exited = new Promise((resolve) => {
      const exit = (code: number | null, signal: string | null): void => {
        if (this.#state === 'exited') return;
        this.#close();
        const uptimeMs = Math.round(performance.now() - forkedAt);
        resolve({ code, signal, fatalMessage: this.#fatalMessage, started: this.#started, uptimeMs });
      };
      worker.on('exit', (code, signal) => {
        // What the process said last may still be in the line, which ends with `disconnect`.
        if (!worker.isConnected()) {
          exit(code, signal);
          return;
        }
        const limit = setTimeout(() => exit(code, signal), LAST_WORDS_TIMEOUT_MS);
        worker.on('disconnect', () => {
          clearTimeout(limit);
          exit(code, signal);
        });
      });
      // `exit` never comes for a process that the system refused to make.
      worker.on('error', (error) => {
        this.#log.error({ err: error }, 'worker process failed');
        if (worker.process.pid === undefined) exit(null, null);
      });
    });
    this.#log.info('worker forked');
  }

  get state(): WorkerState {
    return this.#state;
  }

  /** As other processes see it. An exited process has no status of its own: its place speaks for it. */
  get status(): Omit<ProcessStatus, 'restarts'> {
    const { name, role } = this.#options;
    return {
      name,
      role,
      pid: this.#worker.process.pid ?? 0,
      state: this.#state === 'exited' ? 'draining' : this.#state,
      unreadyReasons: this.#unreadyReasons,
      startedAt: this.startedAt,
    };
  }

  /** What it has counted, as far as it has told: by its last answer or its last words. */
  get totals(): Snapshot {
    return this.#totals;
  }

  /** Its metrics now; undefined when it does not answer in time. Never rejects. */
  async metrics(): Promise<Snapshot | undefined> {
    // A process that boots has counted nothing yet.
    if (!this.#listens) return [];
    try {
      const snapshot = await this.#channel.request('processMetrics', METRICS_TIMEOUT_MS);
      this.#totals = totalsOf(snapshot);
      return snapshot;
    } catch (error) {
      this.#log.debug({ err: error }, 'metrics are missing');
      return undefined;
    }
  }

  /** True when the process is ready; false when it drains, exits or has not become ready after `limitMs`. */
  async whenReady(limitMs: number): Promise<boolean> {
    const limit = AbortSignal.timeout(limitMs);
    while (this.#state === 'starting' || this.#state === 'unready') {
      try {
        await once(this, 'change', { signal: limit });
      } catch {
        return false;
      }
    }
    return this.#state === 'ready';
  }

  /** Asks the process to finish, kills it after `limitMs` and resolves when it is gone. A repeat changes nothing. */
  async drain(limitMs: number): Promise<void> {
    if (this.#state === 'exited') return;
    if (this.#state !== 'draining') {
      this.#state = 'draining';
      this.#drainDeadline = Date.now() + Math.max(0, limitMs - KILL_GRACE_MS);
      this.#sendDrain();
      this.emit('change');
    }
    const deadline = setTimeout(() => {
      this.#log.error({ limitMs }, 'worker did not drain in time, killing it');
      this.kill();
    }, limitMs);
    await this.exited;
    clearTimeout(deadline);
  }

  /** SIGKILL, which also ends a stopped process. `exited` follows. */
  kill(): void {
    if (this.#state !== 'exited') this.#worker.process.kill('SIGKILL');
  }

  /** Sent when it is asked for and again at `hello`: whatever comes before that, the booting process does not hear. */
  #sendDrain(): void {
    if (this.#drainDeadline !== undefined) this.#channel.notify({ kind: 'drain', deadline: this.#drainDeadline });
  }

  #becomeStarted(unreadyReasons: string[]): void {
    this.#started = true;
    clearTimeout(this.#slowStart);
    this.#log.info({ unreadyReasons }, 'worker started');
    this.#setReasons(unreadyReasons);
  }

  #setReasons(unreadyReasons: string[]): void {
    this.#unreadyReasons = unreadyReasons;
    const state = unreadyReasons.length === 0 ? 'ready' : 'unready';
    if (this.#state === 'draining' || this.#state === 'exited') return;
    if (state === 'ready' && this.#state !== 'ready') this.#log.info('worker ready');
    if (state === 'unready' && this.#state === 'ready') this.#log.warn({ unreadyReasons }, 'worker unready');
    this.#state = state;
    this.emit('change');
  }

  #close(): void {
    this.#state = 'exited';
    this.#heartbeat.stop();
    this.#channel.close();
    clearTimeout(this.#slowStart);
    this.emit('change');
  }
}
