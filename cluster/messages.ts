// Every message between the primary and its workers: one discriminated union, and the check that each kind must pass on
// receipt. Pure data; cluster/channel.ts moves it. Checked by hand: a schema library would double the time a worker takes to boot.
import { ROLES } from './actor.js';
import type { ProcessStatus } from './actor.js';
import { isSnapshot } from '../platform/metrics/snapshot.js';
import type { Snapshot } from '../platform/metrics/snapshot.js';

/** Longest list of reasons, and longest reason or error text, that a process may send. */
const REASONS_MAX = 64;
const TEXT_LENGTH_MAX = 4_096;

/** What a process may ask of the other side, and what it is answered. */
export interface Answers {
  /** Worker → primary: every process of the instance. */
  processes: ProcessStatus[];
  /** Worker → primary: the metrics of every process of the instance. */
  instanceMetrics: Snapshot[];
  /** Primary → worker: its own metrics. */
  processMetrics: Snapshot;
}
export type Method = keyof Answers;

/** Messages that stand alone. */
export type Notice =
  // Worker → primary.
  /** The worker listens from now on; what was sent before is lost. */
  | { readonly kind: 'hello' }
  /** `Actor.start()` is done: sockets listen, loops run. */
  | { readonly kind: 'started'; readonly unreadyReasons: string[] }
  /** `Actor.unreadyReasons()` has changed; empty: ready. */
  | { readonly kind: 'readiness'; readonly unreadyReasons: string[] }
  /** The configuration is wrong; the worker exits with `EXIT.configuration` next. */
  | { readonly kind: 'fatal'; readonly message: string }
  | { readonly kind: 'pong'; readonly rssBytes: number }
  /** The worker stands still on purpose for at most `forMs`, and is not hung; 0 takes that back. */
  | { readonly kind: 'standstill'; readonly forMs: number }
  /** What the worker has counted in all its life: it ends now. */
  | { readonly kind: 'totals'; readonly snapshot: Snapshot }
  // Primary → worker.
  /** Finish and exit before `deadline`, epoch milliseconds; SIGKILL follows soon after it. */
  | { readonly kind: 'drain'; readonly deadline: number }
  | { readonly kind: 'ping' };

export type Message =
  | Notice
  | { readonly kind: 'request'; readonly id: number; readonly method: Method }
  /** `result` is checked by the method that `id` stands for. */
  | { readonly kind: 'reply'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly message: string };

export type MessageOf<K extends Message['kind']> = Extract<Message, { kind: K }>;

type Fields = Readonly<Record<string, unknown>>;

const CHECKS: { readonly [K in Message['kind']]: (fields: Fields) => boolean } = {
  hello: () => true,
  started: ({ unreadyReasons }) => isReasons(unreadyReasons),
  readiness: ({ unreadyReasons }) => isReasons(unreadyReasons),
  fatal: ({ message }) => isText(message),
  pong: ({ rssBytes }) => Number.isFinite(rssBytes),
  standstill: ({ forMs }) => Number.isFinite(forMs),
  totals: ({ snapshot }) => isSnapshot(snapshot),
  drain: ({ deadline }) => Number.isFinite(deadline),
  ping: () => true,
  request: ({ id, method }) => isRequestId(id) && typeof method === 'string' && Object.hasOwn(ANSWER_CHECKS, method),
  reply: ({ id }) => isRequestId(id),
  failure: ({ id, message }) => isRequestId(id) && isText(message),
};

const ANSWER_CHECKS: { readonly [M in Method]: (result: unknown) => boolean } = {
  processes: (result) => Array.isArray(result) && result.every(isProcessStatus),
  instanceMetrics: (result) => Array.isArray(result) && result.every(isSnapshot),
  processMetrics: isSnapshot,
};

const STATES: readonly unknown[] = [
  'starting',
  'unready',
  'ready',
  'draining',
  'backoff',
] satisfies ProcessStatus['state'][];
const STATUS_ROLES: readonly unknown[] = ['primary', ...ROLES] satisfies ProcessStatus['role'][];

/** The message, or undefined if it is none. */
export function parseMessage(raw: unknown): Message | undefined {
  if (!isFields(raw) || typeof raw['kind'] !== 'string' || !Object.hasOwn(CHECKS, raw['kind'])) return undefined;
  return CHECKS[raw['kind'] as Message['kind']](raw) ? (raw as unknown as Message) : undefined;
}

/** The answer to `method`, or undefined if it has another shape. */
export function parseAnswer<M extends Method>(method: M, raw: unknown): Answers[M] | undefined {
  return ANSWER_CHECKS[method](raw) ? (raw as Answers[M]) : undefined;
}

/** Cuts a text that would not pass the check of the other side. */
export function fitText(text: string): string {
  return text.slice(0, TEXT_LENGTH_MAX);
}

export function fitReasons(reasons: readonly string[]): string[] {
  return reasons.slice(0, REASONS_MAX).map(fitText);
}

function isProcessStatus(raw: unknown): boolean {
  return (
    isFields(raw) &&
    isText(raw['name']) &&
    STATUS_ROLES.includes(raw['role']) &&
    STATES.includes(raw['state']) &&
    isReasons(raw['unreadyReasons']) &&
    [raw['pid'], raw['startedAt'], raw['restarts']].every(Number.isFinite)
  );
}

function isFields(raw: unknown): raw is Fields {
  return typeof raw === 'object' && raw !== null;
}

function isText(raw: unknown): boolean {
  return typeof raw === 'string' && raw.length <= TEXT_LENGTH_MAX;
}

function isReasons(raw: unknown): boolean {
  return Array.isArray(raw) && raw.length <= REASONS_MAX && raw.every(isText);
}

function isRequestId(raw: unknown): boolean {
  return Number.isSafeInteger(raw) && (raw as number) >= 1;
}
