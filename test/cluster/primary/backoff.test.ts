// The waits between restarts.
import { describe, expect, it } from 'vitest';
import { backoffDelayMs } from '../../../cluster/primary/backoff.js';
import { SUPERVISION_LIMITS } from '../../../cluster/primary/limits.js';

describe('backoffDelayMs', () => {
  it('doubles its upper bound from 100 ms to 10 s', () => {
    const largest = [1, 2, 3, 7, 8, 50, 5_000].map((deaths) => backoffDelayMs(deaths, SUPERVISION_LIMITS, () => 1));
    expect(largest).toEqual([100, 200, 400, 6_400, 10_000, 10_000, 10_000]);
  });

  it('spreads over the whole range (full jitter)', () => {
    expect(backoffDelayMs(3, SUPERVISION_LIMITS, () => 0)).toBe(0);
    expect(backoffDelayMs(3, SUPERVISION_LIMITS, () => 0.5)).toBe(200);
  });
});
