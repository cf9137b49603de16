import { expect, it } from 'vitest';
import { BURST } from '../../bench/burst/part.js';
import { measureShort, PART_TIMEOUT_MS } from './short-part.js';

it('lets a crowd come at once, and counts who won and who did not', { timeout: PART_TIMEOUT_MS }, async () => {
  const { findings, problems, raw } = await measureShort(BURST);
  expect(problems).toEqual([]);
  const burst = { winners: 300, soldOut: 300, answers: { '201 claimed': 300, '409 sold_out': 300 } };
  // The first one, which warms up, counts like the other.
  expect(raw).toMatchObject([burst, burst]);
  expect(findings.map(({ target }) => target)).toEqual(['burstErrors', 'burstWinnersOff', 'burstRows']);
  expect(findings.slice(0, 2).map(({ value }) => value.max)).toEqual([0, 0]);
});
