import { expect, it } from 'vitest';
import { DRAIN } from '../../bench/drain.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it(
  'holds the ledger back, lets it drain, and compares it with inserts alone',
  { timeout: PART_TIMEOUT_MS },
  async () => {
    const { findings, problems, raw } = await measureShort(DRAIN);
    // Also says that every claim is in MySQL in the end.
    expect(problems).toEqual([]);
    expect(findings.map(({ target }) => target)).toEqual(['drainAgainstMysql']);
    const [round] = raw as { drained: { rowsPerSecond: number }; inserted: { rowsPerSecond: number } }[];
    expect(round?.drained.rowsPerSecond).toBeGreaterThan(0);
    expect(round?.inserted.rowsPerSecond).toBeGreaterThan(0);
  },
);
