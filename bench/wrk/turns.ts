// What the part `generator` measures in turns. Types and names.
import type { MeasuredLoad } from '../measured-load.js';

export const LOADS = ['empty Fastify route', 'granted claims', 'sold-out answers'] as const;
export type LoadName = (typeof LOADS)[number];
export const SOURCES = ['wrk', "the benchmark's own"] as const;
export type SourceName = (typeof SOURCES)[number];

/** One load from one generator. */
export interface Turn {
  readonly load: LoadName;
  readonly source: SourceName;
  readonly measured: MeasuredLoad;
  /** µs of CPU of the generator per answer, opening its connections included. */
  readonly generatorMicros: number;
}
/** One turn of each load from each generator. */
export type Round = readonly Turn[];
