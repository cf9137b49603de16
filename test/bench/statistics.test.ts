import { describe, expect, it } from 'vitest';
import type { Round } from '../../bench/claims-result.js';
import { summarize } from '../../bench/claims-result.js';
import { percentileOf, spreadOf } from '../../bench/statistics.js';

describe('spreadOf', () => {
  it('gives median, lowest and highest, in whatever order the values come', () => {
    expect(spreadOf([9, 1, 10])).toEqual({ median: 9, min: 1, max: 10 });
    expect(spreadOf([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 });
    expect(spreadOf([7])).toEqual({ median: 7, min: 7, max: 7 });
    expect(() => spreadOf([])).toThrow(RangeError);
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

describe('summarize', () => {
  const round = (http: number, more: Partial<Round> = {}): Round => ({
    cpuMicrosPerRequest: { http, redis: 5 },
    httpRatio: http / 50,
    requestsPerSecond: 1_000,
    latencyMs: { p50: 1, p99: 2 },
    answers: { '409 sold_out': 10 },
    unanswered: 0,
    claimsPerScriptCall: 8,
    foreignCpuShare: 0,
    ...more,
  });

  it('takes medians of the rounds and adds up their answers', () => {
    const result = summarize('sold_out', [round(50), round(100), round(60)]);
    expect(result).toMatchObject({
      cpuMicrosPerRequest: { http: { median: 60, min: 50, max: 100 }, redis: { median: 5, min: 5, max: 5 } },
      httpRatio: { median: 1.2, min: 1, max: 2 },
      answers: { '409 sold_out': 30 },
      unanswered: 0,
      asExpected: true,
    });
  });

  it('says when a request got another answer, or none', () => {
    const other = round(50, { answers: { '409 sold_out': 9, '503 overloaded': 1 } });
    expect(summarize('sold_out', [round(50), other])).toMatchObject({
      answers: { '409 sold_out': 19, '503 overloaded': 1 },
      asExpected: false,
    });
    const silent = round(50, { answers: { '409 sold_out': 9 }, unanswered: 1 });
    expect(summarize('sold_out', [silent])).toMatchObject({ unanswered: 1, asExpected: false });
  });
});
