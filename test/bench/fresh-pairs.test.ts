// The benchmark of the diagnostics on the claim path: one pair of fresh processes, as short as can be.
import { expect, it } from 'vitest';
import type { Pair } from '../../bench/recorder/fresh-pairs.js';
import { measurePairs } from '../../bench/recorder/fresh-pairs.js';

const PAIRS_TIMEOUT_MS = 120_000;

it('measures claims of a process with its agent and of one without', { timeout: PAIRS_TIMEOUT_MS }, async () => {
  const pairs: Pair[] = [];
  const plan = { pairs: 1, laps: 2, claimsPerLap: 500, claimsToSettle: 100, lapsToWarmUp: 0 };
  // It rejects when one has an agent that should have none, or the other way round.
  await measurePairs(plan, new AbortController().signal, (pair) => pairs.push(pair));
  expect(pairs).toHaveLength(1);
  for (const { main, all } of pairs.flatMap(({ off, on }) => [off, on])) {
    expect(main).toBeGreaterThan(0);
    expect(all).toBeGreaterThan(main);
  }
});
