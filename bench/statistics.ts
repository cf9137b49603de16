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
