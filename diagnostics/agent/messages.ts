// What the main thread and the diagnostics thread say to each other: questions by topic, at most one of each under way,
// and their answers. Data only, fit for structured clone. Never carries environment variables, arguments or payloads.
import type { DelayBucket } from './delay-histogram.js';
import type { Rule } from '../collection/rules.js';
import type { RecorderSnapshot, TraceMode, TraceResult } from '../model.js';

export interface VitalSigns {
  /** Epoch ms. */
  readonly at: number;
  /** Ms since the reading before this one: what `loop` and `gc` speak of. */
  readonly intervalMs: number;
  readonly uptimeSeconds: number;
  readonly loop: {
    /** Share of the interval in which the loop was busy, 0 to 1. */
    readonly utilization: number;
    /** How late the loop was, in ms, over the interval. */
    readonly delayMs: { readonly mean: number; readonly p50: number; readonly p99: number; readonly max: number };
  };
  /** Bytes. */
  readonly memory: {
    readonly rss: number;
    readonly heapUsed: number;
    readonly heapTotal: number;
    readonly heapLimit: number;
    readonly external: number;
    readonly arrayBuffers: number;
  };
  readonly gc: { readonly count: number; readonly pauseMs: number; readonly longestMs: number };
}

/** Pauses by kind since the agent started. */
export type GcTotals = Readonly<
  Record<string, { readonly count: number; readonly pauseMs: number; readonly longestMs: number }>
>;

/** One thing that is open: a socket, a server, a child process. */
export interface HandleDetails {
  readonly type: string;
  readonly details: Readonly<Record<string, string | number>>;
}

export interface HandleReport {
  readonly at: number;
  /** `process.getActiveResourcesInfo()`, counted: what keeps the process alive now. */
  readonly active: Readonly<Record<string, number>>;
  /** At most `HANDLES_LISTED_MAX`; `omitted` says how many more there are. */
  readonly handles: readonly HandleDetails[];
  readonly omitted: number;
}

/** Bytes. */
export interface ThreadHeap {
  readonly used: number;
  readonly total: number;
  readonly limit: number;
}

/** One worker thread of the program. */
export interface ThreadReport extends HandleReport {
  readonly thread: number;
  readonly heap: ThreadHeap;
}

/** Every question the diagnostics thread may ask, with its answer. */
export interface Answers {
  readonly vitals: VitalSigns;
  readonly gc: GcTotals;
  /** Of the event loop, since the agent started. */
  readonly delays: readonly DelayBucket[];
  readonly handles: HandleReport;
  readonly snapshot: RecorderSnapshot;
  /** The same with every recorded one. */
  readonly everyOne: RecorderSnapshot;
  readonly traceStart: undefined;
  readonly traceStop: TraceResult;
  /** The program has been asked to leave its work to others. */
  readonly rest: undefined;
  /** And to take it up again. */
  readonly resume: undefined;
}
export type Topic = keyof Answers;

/** Of the topics that need to know more. */
export interface TraceRequest {
  readonly mode: TraceMode;
  readonly maxEntries: number;
}

/** A heap of several GB: ten seconds for 100 MB of small objects (measured). Longer than that nobody waits for a heap snapshot. */
export const STANDSTILL_MS_MAX = 300_000;

export interface Question {
  readonly topic: Topic;
  /** With `traceStart`. */
  readonly trace?: TraceRequest;
}
export type Answer =
  { readonly topic: Topic; readonly value: unknown } | { readonly topic: Topic; readonly error: string };

/** What the diagnostics thread is started with (`workerData`). */
export interface ThreadData {
  readonly socketPath: string;
  /** Takes the path over from whoever listens there: a worker's replacement starts before the old one has ended. */
  readonly takesOver: boolean;
  readonly name: string;
  readonly pid: number;
  readonly nodeVersion: string;
  /** Epoch ms. */
  readonly startedAt: number;
  /** Of the detector; undefined: its default. */
  readonly windowMs: number | undefined;
  /** Undefined: nothing is saved of its own accord. */
  readonly collection: CollectionData | undefined;
}

/** By what rules evidence is saved, where, and how much of it. */
export interface CollectionData {
  readonly rules: readonly Rule[];
  readonly folder: string;
  readonly actionsPerHourMax: number;
}

/** What the thread tells the main thread of its own accord. */
export type Notice =
  | { readonly notice: 'listening'; readonly socketPath: string; readonly inode: number }
  | { readonly notice: 'failed'; readonly reason: string }
  /** What the collection rules did, for people. */
  | { readonly notice: 'collected'; readonly news: string };

/** The one order the main thread gives. */
export const CLOSE = 'close';
