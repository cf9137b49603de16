// What operators may ask, and what they get.
import { describe, expect, test } from 'vitest';
import type { RawAnswer } from '../http/raw-http.js';
import type { Snapshot } from '../../../platform/metrics/snapshot.js';
import { expectProblem } from '../http/raw-http.js';
import { letterOf, startAdminApi } from './admin-api.js';

const { ask, coupons, cluster } = await startAdminApi();

const bodyOf = (answer: RawAnswer): unknown => JSON.parse(answer.body);
const KEY = ['Idempotency-Key', 'key-1'] as const;

test('create is 201, the same again 200, another definition 409', async () => {
  const summer = { couponId: 'summer', total: 10, opensAt: '2026-11-27T10:00:00+01:00', closesAt: null };
  const created = await ask('POST', '/v1/coupons', summer);
  expect(created.status).toBe(201);
  expect(bodyOf(created)).toEqual({
    couponId: 'summer',
    total: 10,
    state: 'open',
    remaining: 10,
    claimed: 0,
    returned: 0,
    ceiling: 10,
    ledger: { claimed: 0, returned: 0 },
    withheld: 0,
    opensAt: '2026-11-27T09:00:00.000Z',
    closesAt: null,
    paused: false,
    ack: 'fsync',
    returnable: false,
    version: 1,
    shard: 3,
    createdAt: '2026-11-20T08:00:00.000Z',
    archivedAt: null,
  });
  const again = await ask('POST', '/v1/coupons', summer);
  expect(again.status).toBe(200);
  expect(bodyOf(again)).toEqual(bodyOf(created));
  expectProblem(await ask('POST', '/v1/coupons', { ...summer, total: 11 }), 'coupon_exists');
});

test('what Redis cannot say is null', async () => {
  coupons.redisAway = true;
  const answer = await ask('POST', '/v1/coupons', { couponId: 'away', total: 1, ack: 'ledger', returnable: true });
  coupons.redisAway = false;
  expect(bodyOf(answer)).toMatchObject({ state: null, remaining: null, claimed: null, ceiling: null, ack: 'ledger' });
});

test('show, pause, resume, window', async () => {
  await ask('POST', '/v1/coupons', { couponId: 'change', total: 10 });
  expect(bodyOf(await ask('POST', '/v1/coupons/change/pause'))).toMatchObject({ paused: true });
  expect(bodyOf(await ask('GET', '/v1/coupons/change'))).toMatchObject({ paused: true });
  expect(bodyOf(await ask('POST', '/v1/coupons/change/resume', {}))).toMatchObject({ paused: false });
  const at = '2026-12-01T00:00:00.000Z';
  expect(bodyOf(await ask('PATCH', '/v1/coupons/change', { closesAt: at }))).toMatchObject({ closesAt: at });
  // A bound that is not named stays, null removes it.
  const opensAt = '2026-11-30T00:00:00.000Z';
  expect(bodyOf(await ask('PATCH', '/v1/coupons/change', { opensAt }))).toMatchObject({ opensAt, closesAt: at });
  expect(bodyOf(await ask('PATCH', '/v1/coupons/change', { closesAt: null }))).toMatchObject({ closesAt: null });
});

test('list goes through all coupons page by page', async () => {
  for (const couponId of ['list-1', 'list-2', 'list-3']) await ask('POST', '/v1/coupons', { couponId, total: 1 });
  const seen: string[] = [];
  let after = 'list';
  for (;;) {
    const page = bodyOf(await ask('GET', `/v1/coupons?limit=1&after=${after}`)) as {
      coupons: { couponId: string }[];
      next: string | null;
    };
    seen.push(...page.coupons.map(({ couponId }) => couponId).filter((id) => id.startsWith('list-')));
    if (page.next === null) break;
    after = page.next;
  }
  expect(seen).toEqual(['list-1', 'list-2', 'list-3']);
});

test('a stock change answers with the adjustment', async () => {
  await ask('POST', '/v1/coupons', { couponId: 'stock', total: 10 });
  const answer = await ask('POST', '/v1/coupons/stock/stock', { delta: 5, reason: 'more ☕' }, [KEY]);
  expect(answer.status).toBe(200);
  expect(bodyOf(answer)).toMatchObject({
    couponId: 'stock',
    delta: 5,
    reason: 'more ☕',
    idempotencyKey: 'key-1',
    by: 'admin',
    version: 2,
    requestedAt: '2026-11-20T08:00:00.000Z',
    coupon: { couponId: 'stock', total: 15 },
  });
  expectProblem(await ask('POST', '/v1/coupons/stock/stock', { delta: -50, reason: 'x' }, [KEY]), 'below_claimed');
});

describe('claims of a coupon', () => {
  const rows = ['ann', '=cmd|calc', 'a "b", c', '-1', 'zoë'].map((userId, i) => ({
    couponId: 'rows',
    claimNo: i + 1,
    userId,
    claimedAt: Date.parse('2026-11-27T09:00:00.123Z') + i,
    returnedAt: i === 0 ? Date.parse('2026-11-28T09:00:00.000Z') : null,
  }));

  test('in pages, by user, by number', async () => {
    await ask('POST', '/v1/coupons', { couponId: 'rows', total: 10 });
    coupons.rows = rows;
    const page = bodyOf(await ask('GET', '/v1/coupons/rows/claims?limit=2&after=1')) as { claims: unknown[] };
    expect(page).toMatchObject({ claims: [{ claimNo: 2 }, { claimNo: 3 }], next: 3 });
    expect(bodyOf(await ask('GET', '/v1/coupons/rows/claims?user=zo%C3%AB'))).toEqual({
      claims: [
        { couponId: 'rows', claimNo: 5, userId: 'zoë', claimedAt: '2026-11-27T09:00:00.127Z', returnedAt: null },
      ],
      next: null,
    });
    expect(bodyOf(await ask('GET', '/v1/coupons/rows/claims?no=4'))).toMatchObject({ claims: [{ userId: '-1' }] });
  });

  test('as CSV, quoted, with formulas made harmless', async () => {
    coupons.rows = rows;
    const answer = await ask('GET', '/v1/coupons/rows/claims?format=csv');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(unchunk(answer.body).split('\r\n')).toEqual([
      'couponId,claimNo,userId,claimedAt,returnedAt',
      'rows,1,ann,2026-11-27T09:00:00.123Z,2026-11-28T09:00:00.000Z',
      "rows,2,'=cmd|calc,2026-11-27T09:00:00.124Z,",
      'rows,3,"a ""b"", c",2026-11-27T09:00:00.125Z,',
      "rows,4,'-1,2026-11-27T09:00:00.126Z,",
      'rows,5,zoë,2026-11-27T09:00:00.127Z,',
      '',
    ]);
  });

  test('as CSV over many pages, all of them', async () => {
    coupons.rows = Array.from({ length: 3_500 }, (_, i) => ({
      couponId: 'rows',
      claimNo: i + 1,
      userId: `u${i}`,
      claimedAt: 0,
      returnedAt: null,
    }));
    coupons.pagesRead = 0;
    const answer = await ask('GET', '/v1/coupons/rows/claims?format=csv');
    expect(unchunk(answer.body).trimEnd().split('\r\n')).toHaveLength(3_501);
    expect(coupons.pagesRead).toBe(4);
  });

  test('of an unknown coupon are 404, as CSV too', async () => {
    expectProblem(await ask('GET', '/v1/coupons/nothing/claims'), 'unknown_coupon');
    expectProblem(await ask('GET', '/v1/coupons/nothing/claims?format=csv'), 'unknown_coupon');
  });
});

test('the audit is 200 whether the invariants hold or not', async () => {
  expect(bodyOf(await ask('GET', '/v1/audit'))).toMatchObject({ ok: true });
  coupons.auditOk = false;
  const answer = await ask('GET', '/v1/audit');
  expect(answer.status).toBe(200);
  expect(bodyOf(answer)).toMatchObject({ ok: false, invariants: [{ name: 'I1', violations: 2 }] });
});

test('processes are what the primary says; a primary that is silent is 503', async () => {
  const status = {
    name: 'http-1',
    role: 'http' as const,
    pid: 7,
    state: 'ready' as const,
    unreadyReasons: [],
    startedAt: 0,
    restarts: 1,
  };
  cluster.processes = () => Promise.resolve([status]);
  expect(bodyOf(await ask('GET', '/v1/processes'))).toEqual({
    processes: [{ ...status, startedAt: '1970-01-01T00:00:00.000Z' }],
  });
  cluster.processes = () => Promise.reject(new Error('no answer in time'));
  expectProblem(await ask('GET', '/v1/processes'), 'unavailable');
});

test('readiness tells what is missing', async () => {
  expect((await ask('GET', '/readyz')).status).toBe(200);
  coupons.redisAway = true;
  expect(bodyOf(await ask('GET', '/readyz'))).toEqual({ status: 'unready', reasons: ['redis_unavailable'] });
  coupons.redisAway = false;
});

describe('dead letters', () => {
  test('are listed in pages', async () => {
    coupons.letters = [letterOf(1), letterOf(2, 'parked'), letterOf(3)];
    const first = bodyOf(await ask('GET', '/v1/dead-letters?limit=2')) as { deadLetters: unknown[]; next: number };
    expect(first).toMatchObject({
      deadLetters: [
        { id: 1, status: 'retrying' },
        { id: 2, nextAttemptAt: null },
      ],
      next: 2,
    });
    expect(bodyOf(await ask('GET', `/v1/dead-letters?after=${first.next}`))).toMatchObject({
      deadLetters: [{ id: 3, kind: 'grant', couponId: 'sale', claimNo: 3, userId: 'user-3', attempts: 1 }],
      next: null,
    });
    expectProblem(await ask('GET', '/v1/dead-letters?limit=0'), 'invalid_query');
  });

  test('are tried again, and what becomes of that is said', async () => {
    coupons.letters = [letterOf(1), letterOf(2, 'parked')];
    expect(bodyOf(await ask('POST', '/v1/dead-letters/1/retry'))).toEqual({ id: 1, status: 'settled' });
    const problem = expectProblem(await ask('POST', '/v1/dead-letters/2/retry'), 'dead_letter_refused');
    expect(problem['detail']).toBe('Data too long');
    expectProblem(await ask('POST', '/v1/dead-letters/1/retry'), 'unknown_dead_letter');
    expectProblem(await ask('POST', '/v1/dead-letters/x/retry'), 'unknown_dead_letter');
  });
});

describe('shards', () => {
  test('are listed, and rebuilt when an operator asks', async () => {
    expect(bodyOf(await ask('GET', '/v1/shards'))).toEqual({
      shards: [
        { shard: 0, epoch: 4, state: 'open' },
        { shard: 1, epoch: 7, state: 'rebuilding' },
      ],
    });
    const accepted = await ask('POST', '/v1/shards/0/rebuild');
    expect([accepted.status, bodyOf(accepted)]).toEqual([202, { shard: 0, epoch: 4, state: 'fenced' }]);
    expectProblem(await ask('POST', '/v1/shards/2/rebuild'), 'not_found');
  });

  test('give back what is withheld of a coupon', async () => {
    await ask('POST', '/v1/coupons', { couponId: 'doubtful', total: 10 });
    const coupon = await coupons.show('doubtful');
    coupons.coupons.set('doubtful', { ...coupon, withheld: 7 });
    expect(bodyOf(await ask('POST', '/v1/coupons/doubtful/release'))).toMatchObject({ withheld: 0 });
    expectProblem(await ask('POST', '/v1/coupons/nothing/release'), 'unknown_coupon');
  });
});

/** The content of a chunked body. */
function unchunk(text: string): string {
  const bytes = Buffer.from(text);
  const chunks: Buffer[] = [];
  let at = 0;
  for (;;) {
    const end = bytes.indexOf('\r\n', at);
    const length = Number.parseInt(bytes.toString('latin1', at, end), 16);
    if (!(length > 0)) return Buffer.concat(chunks).toString();
    chunks.push(bytes.subarray(end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
}

test('metrics are those of all processes, in the format of Prometheus; a primary that does not answer is a 503', async () => {
  const counted = (value: number): Snapshot => [
    { name: 'test_total', help: 'Test.', type: 'counter', aggregator: 'sum', values: [{ labels: {}, value }] },
  ];
  cluster.metrics = () => Promise.resolve([counted(3), counted(4)]);
  const answer = await ask('GET', '/metrics');
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(answer.body).toBe('# HELP test_total Test.\n# TYPE test_total counter\ntest_total 7\n');
  cluster.metrics = () => Promise.reject(new Error('no answer in time'));
  expectProblem(await ask('GET', '/metrics'), 'unavailable');
});
