// The few statistics that the benchmark reports. Pure functions.

/** Over rounds: medians, because one disturbed round must not move the figure, and the range, because it should be seen. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Throws on an empty list, and on a value that is no finite number: what was not read is nothing to report. */
export function spreadOf(values: readonly number[]): Spread {
  const wrong = values.find((value) => !Number.isFinite(value));
  if (wrong !== undefined) throw new RangeError(`a spread needs finite numbers, and one is ${wrong}`);
  const sorted = values.toSorted((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (min === undefined || max === undefined || low === undefined || high === undefined) {
    throw new RangeError('a spread needs at least one value');
  }
  return { median: (low + high) / 2, min, max };
}

/** Of a confidence interval. */
const CONFIDENCE = 0.95;

/**
 * The narrowest interval of two of these values, as far from the lowest as from the highest, that holds the median of what they are a
 * sample of in at least 95 of 100 samples, whatever the distribution (by ranks, as in the sign test). Undefined for fewer than six
 * values: they cannot tell.
 */
export function medianInterval(values: readonly number[]): { readonly low: number; readonly high: number } | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const count = sorted.length;
  // How likely it is that at most `rank` of `count` values are below the median: the tail of a fair coin.
  let ways = 1;
  let tail = ways / 2 ** count;
  let rank = -1;
  while (2 * tail <= 1 - CONFIDENCE) {
    rank += 1;
    ways = (ways * (count - rank)) / (rank + 1);
    tail += ways / 2 ** count;
  }
  const [low, high] = [sorted[rank], sorted[count - 1 - rank]];
  return low === undefined || high === undefined ? undefined : { low, high };
}

/** Whether it holds numbers and nothing else; read again from JSON, what was none is null. */
export function isSpread({ median, min, max }: Spread): boolean {
  return [median, min, max].every((value) => Number.isFinite(value));
}

/** The smallest value that `share` (0 to 1) of all values do not exceed (nearest rank). Throws on an empty list. */
export function percentileOf(sorted: ArrayLike<number>, share: number): number {
  const value = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
  if (value === undefined) throw new RangeError('a percentile needs at least one value');
  return value;
}
