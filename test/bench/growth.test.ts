import { expect, it } from 'vitest';
import { GROWTH } from '../../bench/growth/part.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it('measures a claim beside more users and beside more coupons', { timeout: PART_TIMEOUT_MS }, async () => {
  const { findings, problems, raw } = await measureShort(GROWTH);
  expect(problems).toEqual([]);
  const claimed = [{ load: { answers: { '201 claimed': 1_000 }, unanswered: 0 } }];
  expect(raw).toMatchObject({
    byUsers: [{ size: 5_000, rounds: claimed }],
    byCoupons: [
      { size: 1, rounds: claimed },
      { size: 20, rounds: claimed },
    ],
  });
  expect(findings.map(({ target }) => target)).toEqual(['growthUsers', 'growthCoupons']);
});
