import { expect, it } from 'vitest';
import { RAW } from '../../bench/raw.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it(
  'measures the script by redis-benchmark and inserts by mysql2, each alone',
  { timeout: PART_TIMEOUT_MS },
  async () => {
    const { tables, pictures, problems } = await measureShort(RAW);
    // Also says that the claims which redis-benchmark sent were granted.
    expect(problems).toEqual([]);
    expect(tables.map(({ rows }) => rows.map(({ cells }) => cells.length))).toEqual([[4, 4], [5]]);
    for (const { y } of pictures.flatMap(({ points }) => points)) expect(y.min).toBeGreaterThan(0);
  },
);
