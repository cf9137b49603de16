import { expect, it } from 'vitest';
import { BATCHES } from '../../bench/batch.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it('measures batches against single claims, all granted', { timeout: PART_TIMEOUT_MS }, async () => {
  const { findings, problems, raw } = await measureShort(BATCHES);
  expect(problems).toEqual([]);
  expect(raw).toMatchObject({
    single: [{ load: { answers: { '201 claimed': 1_000 }, unanswered: 0 } }],
    batch: [{ load: { answers: { '200 claimed': 3_000 }, unanswered: 0 } }],
  });
  expect(findings).toMatchObject([{ target: 'batchAgainstSingle' }]);
  expect(findings[0]?.value.median).toBeGreaterThan(0);
});
