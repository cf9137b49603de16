// How often the event loop was how late, since the start: buckets that a short histogram is poured into again and again
// before it is emptied. Pure: numbers in, numbers out.

/** Upper bounds, ms. What is above the last one has a bucket of its own. */
const BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000] as const;
const PERCENT = 100;

export interface DelayBucket {
  /** Above the bound of the bucket before, up to this; null: without bound. */
  readonly upToMs: number | null;
  readonly count: number;
}

export class DelayHistogram {
  readonly #counts = new Array<number>(BOUNDS_MS.length + 1).fill(0);

  /**
   * `percentiles` as Node's histograms give them, ascending: of `count` values so many percent are at most so large (ms). The
   * steps are halves of what is left, so the lower half counts as the median and the upper end exactly.
   */
  add(percentiles: Iterable<readonly [percentile: number, ms: number]>, count: number): void {
    let before = 0;
    for (const [percentile, ms] of percentiles) {
      const upTo = Math.round((percentile / PERCENT) * count);
      const bucket = BOUNDS_MS.findIndex((bound) => ms <= bound);
      const index = bucket === -1 ? BOUNDS_MS.length : bucket;
      this.#counts[index] = (this.#counts[index] ?? 0) + Math.max(0, upTo - before);
      before = Math.max(before, upTo);
    }
  }

  read(): DelayBucket[] {
    return this.#counts.map((count, index) => ({ upToMs: BOUNDS_MS[index] ?? null, count }));
  }
}
