// What a part of the benchmark is: something that measures for itself and says what came out, in a form that the report,
// the pictures and the table of targets can show. Types only.
import type { Log } from '../platform/log.js';
import type { Spread } from './statistics.js';
import type { TargetName } from './targets.js';

export interface PartContext {
  /** `short` proves that everything runs, in seconds, and its figures mean nothing; `full` is what is published. */
  readonly scale: 'short' | 'full';
  /** Interleaved rounds that are measured, after one that warms up. */
  readonly rounds: number;
  /** Of one load in one round, where the part does not need a number of its own. */
  readonly requests: number;
  /** Each with one request at a time. */
  readonly connections: number;
  /** `http` workers of the service, and of what it is compared with. */
  readonly workers: number;
  /** Options of Node for every process that is measured; none but for profiles. */
  readonly execArgv: readonly string[];
  readonly report: (step: string) => void;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Starts what it measures on loopback, in scratch folders, and stops all of it whatever happens. */
export interface Part {
  /** As on the command line: `peers`, `growth`, … */
  readonly name: string;
  /** One line of `--help`. */
  readonly description: string;
  /** About how long it takes at `full`, in minutes on two cores. */
  readonly minutes: number;
  measure(context: PartContext): Promise<PartResult>;
}

export interface PartResult {
  readonly tables: readonly ResultTable[];
  readonly pictures: readonly Picture[];
  readonly findings: readonly Finding[];
  /** Sentences. An audit that fails, an answer that was not expected: a part with a problem has no result. */
  readonly problems: readonly string[];
  /** Every round of everything, for the file of raw data. JSON. */
  readonly raw: unknown;
}

/** Nothing is an empty cell; read again from JSON it is null. */
export type Cell = Spread | number | string | undefined | null;

export interface ResultTable {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly { readonly title: string; readonly digits: number; readonly cells: readonly Cell[] }[];
  /** Below the table, one sentence each. */
  readonly notes: readonly string[];
}

/** Bars: one per label and series, with the spread as a whisker. Lines: `x` is a number, on a logarithmic axis where `logarithmic`. */
export interface Picture {
  /** File name without extension. */
  readonly name: string;
  readonly title: string;
  readonly kind: 'bars' | 'lines';
  readonly x: { readonly title: string; readonly logarithmic?: boolean };
  readonly y: { readonly title: string; readonly logarithmic?: boolean };
  readonly points: readonly { readonly series: string; readonly x: string | number; readonly y: Spread }[];
}

/** What a part found out about a target. */
export interface Finding {
  readonly target: TargetName;
  readonly value: Spread;
}
