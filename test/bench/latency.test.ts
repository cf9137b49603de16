import { expect, it } from 'vitest';
import { LATENCY } from '../../bench/latency.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it('finds the peak of every level, and offers shares of it', { timeout: PART_TIMEOUT_MS }, async () => {
  const { findings, pictures, problems, raw, tables } = await measureShort(LATENCY);
  // Also says that every claim was granted and is in MySQL.
  expect(problems).toEqual([]);
  expect(findings.map(({ target }) => target)).toEqual(['p99AtHalf', 'p99LedgerOverRedis']);
  expect(tables.map(({ columns }) => columns.length)).toEqual([5, 5]);
  expect(raw).toMatchObject({ besideReplica: [{ redis: {}, replica: {} }] });
  const points = pictures.flatMap((picture) => picture.points);
  expect(points).toHaveLength(4 * 5);
  for (const { y } of points) expect(y.min).toBeGreaterThan(0);
});
