// What makes a part worthless: an answer that was not expected, a claim that got none, an audit that finds something.
import { expect, it } from 'vitest';
import { auditProblems } from '../../bench/audit.js';
import { complaintsOf } from '../../bench/load-generator.js';
import type { LoadResult } from '../../bench/load-job.js';

const LOAD: LoadResult = {
  answers: { '201 claimed': 10 },
  unanswered: 0,
  failures: {},
  durationMs: 1,
  latencyMs: { p50: 1, p99: 1 },
};

it('complains of every answer but the expected one, and of silence', () => {
  expect(complaintsOf('load', LOAD, '201 claimed')).toEqual([]);
  expect(complaintsOf('load', LOAD, '409 sold_out')).toEqual(['load: {"201 claimed":10} instead of 409 sold_out']);
  const silent = { ...LOAD, unanswered: 1, failures: { ECONNRESET: 1 } };
  expect(complaintsOf('load', silent, '201 claimed')).toEqual([
    'load: {"201 claimed":10} instead of 201 claimed, 1 without an answer {"ECONNRESET":1}',
  ]);
});

it('tells what the audit found, and claims that were told and are not in the ledger', async () => {
  const audited = (violations: number) => ({
    admin: () =>
      Promise.resolve(
        JSON.stringify({
          ...{ ok: violations === 0, coupons: 1, claims: 10, outboxEntries: 0, deadLetters: 0, durationMs: 1 },
          invariants: [{ name: 'I1', statement: '', checked: 1, violations, examples: ['sale: 11 held, 10 granted'] }],
        }),
      ),
  });
  expect(await auditProblems(audited(0), 10)).toEqual([]);
  expect(await auditProblems(audited(0), 11)).toEqual(['the audit counted 10 claims, and 11 were told']);
  expect(await auditProblems(audited(1), 10)).toEqual([
    'the audit found I1 violated 1 times: sale: 11 held, 10 granted',
  ]);
});
