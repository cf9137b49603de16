// What makes a part worthless: an answer that was not expected, a claim that got none, an audit that finds something, a
// reading that is missing.
import { expect, it } from 'vitest';
import { auditProblems } from '../../bench/audit.js';
import { complaintsOf } from '../../bench/load-generator.js';
import type { LoadResult } from '../../bench/load-job.js';
import type { PeerRounds } from '../../bench/peers/peers.js';
import { FLOOR, OURS, resultOf, USUAL } from '../../bench/peers/peers-result.js';
import type { CpuMicros } from '../../bench/service-cpu.js';
import { cpuMicrosByKind, cpuMicrosPer } from '../../bench/service-cpu.js';
import { createLog } from '../../platform/log.js';

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

it('takes no missing reading of CPU time for a claim that costs nothing', () => {
  const all = { http: 40, redis: 5, ledger: 10, mariadb: 10 };
  const column = (name: string, path: PeerRounds['path'], ...readings: readonly CpuMicros[]): PeerRounds => ({
    ...{ name, path, couponId: 'sale', expected: '', measured: { url: '', pids: {} } },
    rounds: readings.map((cpuMicrosPerClaim) => ({
      ...{ cpuMicrosPerClaim, claimsPerSecond: 1, writtenPerSecond: 1, load: LOAD },
    })),
  });
  const sizes = { scale: 'short' as const, rounds: 2, requests: 10, connections: 1, workers: 1, execArgv: [] };
  const { signal } = new AbortController();
  const context = { ...sizes, report: () => undefined, log: createLog('bench', 'silent'), signal };
  const resultWith = (reading: CpuMicros, ofGone = reading) => {
    const columns = [
      column(FLOOR, 'granted', { http: 40 }, { http: 40 }),
      column(USUAL, 'granted', all, all),
      column(OURS, 'granted', all, reading),
      column(OURS, 'sold out', ofGone, ofGone),
    ];
    return resultOf(columns, {}, [], context);
  };
  const { findings, pictures } = resultWith(all);
  expect(findings.map(({ value }) => value.max)).toEqual([1, 1, 5]);
  const ofFloor = pictures[0]?.points.filter(({ x }) => x === FLOOR).map(({ series }) => series);
  expect(ofFloor).toEqual(['server']);
  expect(() => resultWith({ ...all, redis: undefined } as never)).toThrow('the CPU time of redis was not read');
  expect(() => resultWith(all, { http: 40 })).toThrow('the CPU time of redis was not read');

  expect(cpuMicrosByKind({ http: [process.pid], redis: [] })).not.toHaveProperty('redis');
  expect(() => cpuMicrosPer(1, {}, { http: 1 })).toThrow('the CPU time of http was not read');
});
