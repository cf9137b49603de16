// What every role is: an actor with a start, a state it can report and a drain. Roles know nothing of cluster or of
// process signals; cluster/worker.ts runs one actor and speaks with the primary on its behalf.
import type { Log } from '../platform/log.js';
import type { Metrics } from '../platform/metrics/metrics.js';
import type { Snapshot } from '../platform/metrics/snapshot.js';
import type { Settings } from '../platform/settings.js';

export const ROLES = ['http', 'ledger', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export interface Actor {
  /**
   * Becomes able to work: listening sockets are open, loops run. A database that is away is waited for in the background, and
   * here for seconds at the most: `unreadyReasons` says so meanwhile. Rejects with `ConfigurationError` when no restart could help.
   * Aborted: the process is to end, so there is nothing to wait for and nothing to open any more; `drain` follows.
   */
  start(stopping?: AbortSignal): Promise<void>;
  /** Empty when the actor can do its work; else short stable words such as `redis_unavailable`. */
  unreadyReasons(): string[];
  /**
   * Leaves new work to the others of its role, because this process is about to stand still for seconds. Resolves with what
   * makes it go on. Absent where nobody else would do the work.
   */
  rest?(): Promise<() => Promise<void>>;
  /** Takes no new work, finishes what it has, closes everything. Settles before `deadline` (epoch ms) if it can. */
  drain(deadline: number): Promise<void>;
}

export interface ActorContext {
  /** `http-1`, `ledger-1`, `admin-1`: stable over restarts of the same place in the cluster. */
  readonly name: string;
  readonly settings: Settings;
  readonly log: Log;
  /** Of this process. An actor registers what it counts when it is made, once. */
  readonly metrics: Metrics;
  readonly cluster: ClusterLink;
  /**
   * Ends this process because of an error that the actor met in the background, after `start`: a `ConfigurationError` ends
   * the whole service with its one line, unless this place has worked before; that, and anything else, is followed by a restart.
   */
  readonly fail: (error: unknown) => void;
}

/** What an actor may ask of the rest of its cluster. */
export interface ClusterLink {
  /** Every process of the instance, as the primary sees it. Rejects after the time limit of the channel. */
  processes(): Promise<ProcessStatus[]>;
  /** The metrics of every process, this one included, and the totals of those that have ended. Rejects likewise. */
  metrics(): Promise<Snapshot[]>;
}

export interface ProcessStatus {
  readonly name: string;
  readonly role: Role | 'primary';
  /** 0 in `backoff`: there is no process. */
  readonly pid: number;
  readonly state: 'starting' | 'unready' | 'ready' | 'draining' | 'backoff';
  readonly unreadyReasons: string[];
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly restarts: number;
}

export type ActorFactory = (context: ActorContext) => Actor;
