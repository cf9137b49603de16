import { expect, it } from 'vitest';
import { FAULT_KINDS } from '../../verify/fault-kinds.js';
import { partsOf, planFaults } from '../../verify/schedule.js';

const MINUTE_MS = 60_000;

it('is the same for the same seed, and another for another', () => {
  const plan = planFaults(7, MINUTE_MS, FAULT_KINDS);
  expect(plan).toEqual(planFaults(7, MINUTE_MS, FAULT_KINDS));
  expect(plan).not.toEqual(planFaults(8, MINUTE_MS, FAULT_KINDS));
});

it('gives every kind its turn, one at a time for each target, and ends before the load does', () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const plan = planFaults(seed, 5 * MINUTE_MS, FAULT_KINDS);
    expect(new Set(plan.map((fault) => fault.fault)).size).toBe(FAULT_KINDS.length);
    const freeAt = new Map<string, number>();
    for (const { atMs, lastsMs, target } of plan) {
      for (const part of partsOf(target)) {
        expect(atMs).toBeGreaterThanOrEqual(freeAt.get(part) ?? 0);
        freeAt.set(part, atMs + lastsMs);
      }
    }
    expect(Math.max(...freeAt.values())).toBeLessThan(5 * MINUTE_MS);
  }
});

it('is empty without kinds', () => {
  expect(planFaults(1, MINUTE_MS, [])).toEqual([]);
});
