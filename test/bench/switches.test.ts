// The part `switches`: services started in several ways.
import { expect, it } from 'vitest';
import { SWITCHES } from '../../bench/switches.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it('compares each way of running the service with an empty route beside it', { timeout: PART_TIMEOUT_MS }, async () => {
  const { tables, findings, problems } = await measureShort(SWITCHES);
  expect(problems).toEqual([]);
  expect(tables[0]?.rows.map(({ title }) => title)).toEqual([
    'everything on',
    'acknowledged at level redis',
    'acknowledged at level ledger',
    '100 coupons',
    'diagnostics and metrics off',
    'empty Fastify route',
  ]);
  expect(tables[1]?.rows.map(({ title }) => title)).toEqual(['kernel', 'round-robin']);
  expect(findings.map(({ target }) => target)).toEqual(['cpuBareAgainstFloor']);
});
