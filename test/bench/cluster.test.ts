import { expect, it } from 'vitest';
import { CLUSTER } from '../../bench/cluster.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it('shows how claims spread over the masters of a cluster', { timeout: PART_TIMEOUT_MS }, async () => {
  const { problems, raw } = await measureShort(CLUSTER);
  // Also says that no master was left out, and that one coupon was on one master.
  expect(problems).toEqual([]);
  const [round] = raw as Record<'many' | 'one', { claims: number; scriptCalls: number }[]>[];
  for (const done of [round?.many, round?.one]) {
    expect(done).toHaveLength(3);
    expect(done?.reduce((sum, { claims }) => sum + claims, 0)).toBe(600);
    // A master without a claim is looked at four times a second: it may have had no call while a short load was served.
    for (const { claims, scriptCalls } of done ?? []) if (claims > 0) expect(scriptCalls).toBeGreaterThan(0);
  }
});
