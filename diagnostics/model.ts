// The words that the parts of the diagnostics agent share: what a creation site is, what the recorder tells of it, and
// what the detector says. Data only, fit for structured clone (main thread ↔ diagnostics thread) and for JSON.
// Nothing under diagnostics/ imports another room of this project.

/** `promise`: pending and reachable. `abandoned`: collected by GC while still pending. */
export type ResourceKind = 'promise' | 'abandoned' | 'timer' | 'immediate' | 'handle' | 'request' | 'listener';

export interface Frame {
  readonly functionName: string;
  /** Of the code that runs as the recorder tells it, an address perhaps; source-mapped and a path wherever it is shown (SourceMaps). */
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** All live resources that one place in the code has created. */
export interface SiteSample {
  /** Stable for one kind, type and stack within a process. */
  readonly siteId: string;
  readonly kind: ResourceKind;
  /** The name of Node's async resource type or of the object: `PROMISE`, `Timeout`, `TCPSOCKETWRAP`, … */
  readonly type: string;
  /** Innermost first, the user's code only; empty where none was recorded. */
  readonly stack: readonly Frame[];
  /** Estimate of all that are alive: what was sampled times the sampling rate in force when it was created. */
  readonly live: number;
  /** How many of them were really recorded. */
  readonly sampled: number;
  /** Estimate of all ever created here, and of all that have ended. */
  readonly created: number;
  readonly ended: number;
  /** Ages in ms. */
  readonly ageMinMs: number;
  readonly ageP50Ms: number;
  readonly ageMaxMs: number;
  /** Timers: delay in ms. Handles: remote address, fd and the like. No secrets, no payloads. */
  readonly details: Readonly<Record<string, string | number>>;
  /** Absent where the single ages are not known. */
  readonly ages?: SiteAges;
  /** Every recorded one, the oldest first; only where it was asked for. */
  readonly each?: readonly RecordedOne[];
}

export interface RecordedOne {
  readonly ageMs: number;
  /** For how many it stands. */
  readonly weight: number;
}

export interface RecorderSnapshot {
  /** Epoch ms. */
  readonly at: number;
  readonly mode: 'off' | 'always-on' | 'trace';
  /** One in `promiseRate` promises is recorded now; stacks per second spent and allowed. */
  readonly promiseRate: number;
  readonly stacksPerSecond: number;
  readonly stacksPerSecondMax: number;
  readonly sites: readonly SiteSample[];
  /** Live estimate by type over all sites, also those without a stack. */
  readonly liveByType: Readonly<Record<string, number>>;
  /** What the recorder itself holds: entries, sites and an estimate of its memory, each with its bound. */
  readonly own: {
    readonly entries: number;
    readonly entriesMax: number;
    readonly sites: number;
    readonly sitesMax: number;
    readonly bytes: number;
  };
}

export interface LeakSite {
  readonly siteId: string;
  readonly verdict: 'suspect' | 'leaking';
  readonly kind: ResourceKind;
  readonly type: string;
  readonly stack: readonly Frame[];
  readonly live: number;
  readonly growthPerMinute: number;
  readonly oldestSeconds: number;
  /** ISO 8601: since when it has been growing. */
  readonly since: string;
  /** What usually causes it, and the idiomatic fix, in plain words. */
  readonly cause: string;
  readonly fix: string;
  /** Anchor in docs/leaks.md. */
  readonly link: string;
}

export interface LeakReport {
  readonly verdict: 'clean' | 'suspect' | 'leaking';
  /** Worst first. */
  readonly sites: readonly LeakSite[];
  /** Epoch ms of the first and the latest sample the verdict rests on. */
  readonly from: number;
  readonly to: number;
}

/** Steps of `SiteAges`, ms: a quarter of a second doubled up to about 68 minutes. */
export const AGE_STEPS_MS: readonly number[] = Array.from({ length: 15 }, (_, step) => 250 * 2 ** step);

/** How many live ones are at least AGE_STEPS_MS[i] old, estimates. What the detector's verdict on growth rests on. */
export type SiteAges = readonly number[];

/** Which kinds of async resource a window of full traces records. `all` makes a promise-heavy program many times slower. */
export type TraceMode = 'all' | 'promises' | 'without-promises';

/** One async resource of a trace window. Times are epoch ms. */
export interface TraceEntry {
  readonly asyncId: number;
  /** Who caused it: follow it through `entries` for the chain of triggers; 0 and 1 are the program's start. */
  readonly triggerAsyncId: number;
  readonly executionAsyncId: number;
  readonly type: string;
  readonly createdAt: number;
  /** Absent while it is live. For promises: when it settled. */
  readonly endedAt?: number;
  readonly stack: readonly Frame[];
  /** The request to this program's HTTP servers on behalf of which it was made: method and path, without the query. */
  readonly request?: string;
}

export interface TraceResult {
  readonly mode: TraceMode;
  readonly from: number;
  readonly to: number;
  readonly entries: readonly TraceEntry[];
  /** Not recorded, because the window already held its maximum. */
  readonly dropped: number;
}
