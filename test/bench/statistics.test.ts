import { describe, expect, it } from 'vitest';
import { medianInterval, percentileOf, spreadOf } from '../../bench/statistics.js';

describe('spreadOf', () => {
  it('gives median, lowest and highest, in whatever order the values come', () => {
    expect(spreadOf([9, 1, 10])).toEqual({ median: 9, min: 1, max: 10 });
    expect(spreadOf([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 });
    expect(spreadOf([7])).toEqual({ median: 7, min: 7, max: 7 });
    expect(() => spreadOf([])).toThrow(RangeError);
    for (const wrong of [NaN, Infinity]) expect(() => spreadOf([1, wrong, 2])).toThrow('finite');
  });
});

describe('percentileOf', () => {
  it('takes the nearest rank', () => {
    const values = Array.from({ length: 200 }, (_, i) => i + 1);
    expect([0, 0.5, 0.99, 1].map((share) => percentileOf(values, share))).toEqual([1, 100, 198, 200]);
    expect(percentileOf([5], 0.99)).toBe(5);
    expect(() => percentileOf([], 0.5)).toThrow(RangeError);
  });
});

describe('medianInterval', () => {
  it('goes by the ranks of the sign test', () => {
    const values = Array.from({ length: 20 }, (_, i) => 20 - i);
    // Tables have the ranks 6 and 15 for 20 values, the lowest and the highest for 6 to 8.
    expect(medianInterval(values)).toEqual({ low: 6, high: 15 });
    expect(medianInterval(values.slice(0, 8))).toEqual({ low: 13, high: 20 });
    expect(medianInterval(values.slice(0, 9))).toEqual({ low: 13, high: 19 });
    expect(medianInterval(values.slice(0, 6))).toEqual({ low: 15, high: 20 });
    expect(medianInterval(values.slice(0, 5))).toBeUndefined();
    expect(medianInterval([])).toBeUndefined();
  });
});
