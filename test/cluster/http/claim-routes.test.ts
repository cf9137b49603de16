// The public API's answers to good requests, and every refusal of the claim path as its problem document.
import { describe, expect, test, vi } from 'vitest';
import { ERRORS } from '../../../platform/errors.js';
import type { ErrorCode } from '../../../platform/errors.js';
import { startPublicApi } from './public-api.js';
import { exchange, expectProblem } from './raw-http.js';
import type { RawAnswer } from './raw-http.js';

const { port, claims, logged } = await startPublicApi();

function ask(method: string, path: string, user?: string): Promise<RawAnswer> {
  return exchange(port, { method, path, headers: user === undefined ? [] : [['X-User-Id', user]] });
}

const bodyOf = (answer: RawAnswer): unknown => JSON.parse(answer.body);

describe('a claim', () => {
  test('is 201 with the receipt, then 200 with the same receipt', async () => {
    const first = await ask('POST', '/v1/coupons/open/claims', 'ann');
    const again = await ask('POST', '/v1/coupons/open/claims', 'ann');
    const receipt = {
      couponId: 'open',
      userId: 'ann',
      claimNo: 1,
      claimedAt: '2026-11-27T09:00:00.123Z',
      ack: 'fsync',
    };
    expect(first.status).toBe(201);
    expect(first.headers.get('content-type')).toMatch(/^application\/json/);
    expect(bodyOf(first)).toEqual({ status: 'claimed', ...receipt });
    expect(again.status).toBe(200);
    expect(bodyOf(again)).toEqual({ status: 'already_claimed', ...receipt });
    expect(bodyOf(await ask('GET', '/v1/coupons/open/claims/me', 'ann'))).toEqual({
      status: 'already_claimed',
      ...receipt,
    });
  });

  test('does not care what its body is, or is not', async () => {
    const headers = [['X-User-Id', 'bob']] as const;
    for (const [type, body] of [
      [undefined, undefined],
      [undefined, 'anything'],
      ['text/plain', 'anything'],
      ['application/x-www-form-urlencoded', 'a=b'],
      ['application/octet-stream', Buffer.from([0, 255, 254])],
      ['application/json', ''],
      ['application/json', '{}'],
      ['application/json; charset=utf-8', '{"why":"not"}'],
    ] as const) {
      const answer = await exchange(port, {
        method: 'POST',
        path: '/v1/coupons/open/claims',
        headers: type === undefined ? headers : [...headers, ['Content-Type', type]],
        ...(body !== undefined && { body }),
      });
      expect({ type, body, status: answer.status }).toMatchObject({ status: expect.toBeOneOf([200, 201]) as number });
    }
  });

  test('takes user ids as bytes: a, A, à and ä are four users', async () => {
    const numbers = new Set<unknown>();
    for (const user of ['a', 'A', 'à', 'ä', '日本', 'a, b']) {
      const answer = await ask('POST', '/v1/coupons/open/claims', Buffer.from(user).toString('latin1'));
      expect(answer.status).toBe(201);
      expect(bodyOf(answer)).toMatchObject({ userId: user });
      numbers.add((bodyOf(answer) as { claimNo: number }).claimNo);
    }
    expect(numbers.size).toBe(6);
  });
});

const REFUSALS: readonly ErrorCode[] = [
  ...(['sold_out', 'not_open', 'paused', 'ended', 'unknown_coupon'] as const),
  ...(['overloaded', 'fenced', 'ledger_behind', 'unavailable', 'outcome_unknown'] as const),
];

describe('a refusal', () => {
  test.each(REFUSALS)('%s is its problem document', async (code) => {
    claims.refusals.set(code, code);
    const problem = expectProblem(await ask('POST', `/v1/coupons/${code}/claims`, 'ann'), code);
    expect(problem['opensAt']).toBe(code === 'not_open' ? '2026-11-27T09:00:00.000Z' : undefined);
    if (ERRORS[code].status >= 500) expect(problem['requestId']).toEqual(expect.any(String));
  });

  test('not_claimed and unknown_coupon tell a receipt that is not there apart', async () => {
    expectProblem(await ask('GET', '/v1/coupons/open/claims/me', 'nobody'), 'not_claimed');
    expectProblem(await ask('GET', '/v1/coupons/none/claims/me', 'nobody'), 'unknown_coupon');
  });
});

describe('a return', () => {
  test('is 200 with the receipt and the time, again and again, and the user hears 409 from then on', async () => {
    await ask('POST', '/v1/coupons/open/claims', 'rita');
    const first = await ask('DELETE', '/v1/coupons/open/claims/me', 'rita');
    expect(first.status).toBe(200);
    expect(bodyOf(first)).toMatchObject({
      status: 'returned',
      couponId: 'open',
      userId: 'rita',
      claimedAt: '2026-11-27T09:00:00.123Z',
      ack: 'fsync',
      returnedAt: '2026-11-27T10:00:00.456Z',
    });
    expect(bodyOf(await ask('DELETE', '/v1/coupons/open/claims/me', 'rita'))).toEqual(bodyOf(first));
    const problem = expectProblem(await ask('POST', '/v1/coupons/open/claims', 'rita'), 'returned');
    expect(problem['returnedAt']).toBe('2026-11-27T10:00:00.456Z');
  });

  test.each(['not_returnable', 'fenced', 'outcome_unknown'] as const)('%s is its problem document', async (code) => {
    claims.refusals.set(code, code);
    expectProblem(await ask('DELETE', `/v1/coupons/${code}/claims/me`, 'ann'), code);
  });

  test('wants to know who asks, for which coupon, and a claim', async () => {
    expectProblem(await ask('DELETE', '/v1/coupons/open/claims/me'), 'unauthenticated');
    expectProblem(await ask('DELETE', '/v1/coupons/a.b/claims/me', 'ann'), 'invalid_coupon_id');
    expectProblem(await ask('DELETE', '/v1/coupons/open/claims/me', 'nobody'), 'not_claimed');
  });
});

test('a coupon is shown to anybody', async () => {
  const answer = await ask('GET', '/v1/coupons/open');
  expect(answer.status).toBe(200);
  expect(bodyOf(answer)).toEqual({
    couponId: 'open',
    state: 'open',
    total: 10,
    remaining: 7,
    opensAt: '2026-11-27T09:00:00.000Z',
    closesAt: null,
  });
  expectProblem(await ask('GET', '/v1/coupons/none'), 'unknown_coupon');
});

test('a fault of the service is a 500 without a word about it, and the request id leads to the stack in the log', async () => {
  const problem = expectProblem(await ask('POST', '/v1/coupons/bug/claims', 'ann'), 'internal');
  expect(problem).not.toHaveProperty('detail');
  const line = logged.find(({ requestId }) => requestId === problem['requestId']);
  expect(line?.['err']).toMatchObject({ message: 'a bug of the claim service', stack: expect.any(String) as string });
});

test('an answer that fails is an error of its own, and nobody else hears of it', async () => {
  const receipt = { claimNo: 1, claimedAt: NaN, ack: 'fsync' as const };
  const decide = vi.spyOn(claims, 'decide').mockResolvedValueOnce({ status: 'claimed', receipt });
  expectProblem(await ask('POST', '/v1/coupons/open/claims', 'unlucky'), 'internal');
  decide.mockRestore();
  expect((await ask('POST', '/v1/coupons/open/claims', 'lucky')).status).toBe(201);
});

test('health and readiness', async () => {
  expect(bodyOf(await ask('GET', '/healthz'))).toEqual({ status: 'ok' });
  expect(bodyOf(await ask('GET', '/readyz'))).toEqual({ status: 'ready' });
  claims.reasons = ['redis_unavailable'];
  const answer = await ask('GET', '/readyz');
  expect(answer.status).toBe(503);
  expect(bodyOf(answer)).toEqual({ status: 'unready', reasons: ['redis_unavailable'] });
  claims.reasons = [];
});

test('every answer carries a request id; a short safe one of the caller is kept, another one is not', async () => {
  const own = await ask('GET', '/healthz');
  expect(own.headers.get('x-request-id')).toMatch(/^[\w-]+$/);
  const idOf = async (id: string): Promise<string | undefined> =>
    (await exchange(port, { path: '/nowhere', headers: [['X-Request-Id', id]] })).headers.get('x-request-id');
  expect(await idOf('trace-1.2_3')).toBe('trace-1.2_3');
  for (const bad of ['a b', '"', 'x'.repeat(65)]) expect(await idOf(bad)).not.toBe(bad);
});

test('nothing is logged for requests that are answered', () => {
  expect(logged.filter(({ level }) => level !== 50)).toEqual([]);
});
