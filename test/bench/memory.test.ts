import { expect, it } from 'vitest';
import { MEMORY } from '../../bench/memory.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it('tells what a claimed user costs Redis, and archives the coupon', { timeout: PART_TIMEOUT_MS }, async () => {
  const { findings, problems } = await measureShort(MEMORY);
  expect(problems).toEqual([]);
  expect(findings.map(({ target }) => target)).toEqual(['memoryPerUser', 'memoryArchived']);
  const [perUser, archived] = findings.map(({ value }) => value.median);
  // An id and a receipt are 20 bytes each, whatever the allocator; of them nothing is left.
  expect(perUser).toBeGreaterThan(40);
  expect(archived).toBeLessThan(40);
});
