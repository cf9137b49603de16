import { expect, it } from 'vitest';
import { GROWTH } from '../../bench/growth/part.js';
import type { Spread } from '../../bench/statistics.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it('measures a claim beside more users and beside more coupons', { timeout: PART_TIMEOUT_MS }, async () => {
  const { findings, problems, raw, tables } = await measureShort(GROWTH);
  expect(problems).toEqual([]);
  const claimed = [{ load: { answers: { '201 claimed': 1_000 }, unanswered: 0 } }];
  expect(raw).toMatchObject({
    byUsers: [{ size: 5_000, rounds: claimed }],
    byCoupons: [
      { size: 1, rounds: claimed },
      { size: 20, rounds: claimed },
    ],
  });
  const found = new Map(findings.map(({ target, value }) => [target, value.median]));
  expect([...found.keys()]).toEqual(['growthUsers', 'growthUsersWritten', 'growthCoupons', 'growthCouponsWritten']);
  const { rows = [] } = tables[1] ?? {};
  const medians = rows.map(({ cells }) => cells.map((cell) => (cell as Spread).median));
  const [all = [], waitedFor = [], http = [], redis = [], ledger = [], mariadb = []] = medians;
  for (const at of [0, 1]) {
    expect(waitedFor[at]).toBeCloseTo((http[at] ?? 0) + (redis[at] ?? 0));
    expect(all[at]).toBeCloseTo((waitedFor[at] ?? 0) + (ledger[at] ?? 0) + (mariadb[at] ?? 0));
  }
  expect(found.get('growthCouponsWritten')).toBeCloseTo((all[1] ?? NaN) / (all[0] ?? NaN));
});
