// Every malformed request to the admin API gets a problem document that names what is wrong: never a 500, never a stack.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HTTP_LIMITS } from '../../../cluster/http/limits.js';
import { TOTAL_MAX } from '../../../coupons/definition.js';
import type { ErrorCode } from '../../../platform/errors.js';
import { exchange, expectNoStack, expectProblem } from '../http/raw-http.js';
import { ADMIN_TOKEN, startAdminApi } from './admin-api.js';

const { port, ask, logged } = await startAdminApi();
await ask('POST', '/v1/coupons', { couponId: 'there', total: 10 });

const good = { couponId: 'new', total: 10 };
const KEY = ['Idempotency-Key', 'key-1'] as const;
const LATER = '2026-12-01T00:00:00Z';
const EARLIER = '2026-11-01T00:00:00Z';

describe('authentication', () => {
  test.each<[what: string, headers: readonly (readonly [string, string])[]]>([
    ['no token', []],
    ['an empty header', [['Authorization', '']]],
    ['another scheme', [['Authorization', `Basic ${ADMIN_TOKEN}`]]],
    ['a wrong token', [['Authorization', 'Bearer admin-token-of-the-testS']]],
    ['a longer token', [['Authorization', `Bearer ${ADMIN_TOKEN}x`]]],
    ['the token bare', [['Authorization', ADMIN_TOKEN]]],
  ])('%s is 401 everywhere', async (_what, headers) => {
    for (const [method, path] of [
      ['GET', '/v1/coupons'],
      ['POST', '/v1/coupons'],
      ['GET', '/v1/audit'],
      ['GET', '/v1/processes'],
      ['GET', '/readyz'],
      ['GET', '/openapi.json'],
      ['GET', '/nowhere'],
      ['DELETE', '/v1/coupons'],
    ] as const) {
      const answer = await exchange(port, { method, path, headers });
      expectProblem(answer, 'unauthenticated');
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer /);
    }
  });

  test('only whether the process lives may be asked without', async () => {
    expect((await exchange(port, { path: '/healthz' })).status).toBe(200);
  });
});

describe('a new coupon', () => {
  test.each<[what: string, code: ErrorCode, body: unknown, named?: string]>([
    ['nothing', 'invalid_body', undefined],
    ['an empty object', 'invalid_body', {}, 'couponId'],
    ['a number as text', 'invalid_body', { ...good, total: '5' }, 'total'],
    ['no units', 'invalid_body', { ...good, total: 0 }, 'total'],
    ['negative units', 'invalid_body', { ...good, total: -5 }, 'total'],
    ['half a unit', 'invalid_body', { ...good, total: 1.5 }, 'total'],
    ['absurdly many units', 'invalid_body', { ...good, total: TOTAL_MAX + 1 }, 'total'],
    ['1e400 units', 'invalid_body', '{"couponId":"new","total":1e400}', 'total'],
    ['null units', 'invalid_body', { ...good, total: null }, 'total'],
    ['an unknown member', 'invalid_body', { ...good, colour: 'red' }, '"colour"'],
    ['a prototype', 'invalid_body', '{"couponId":"new","total":1,"__proto__":{"x":1}}', '__proto__'],
    ['an id that is no text', 'invalid_body', { ...good, couponId: 5 }, 'couponId'],
    ['an id too long', 'invalid_coupon_id', { ...good, couponId: 'c'.repeat(65) }],
    ['an empty id', 'invalid_coupon_id', { ...good, couponId: '' }],
    ['an id with a control character', 'invalid_coupon_id', { ...good, couponId: 'a\n' }],
    ['an id with an accent', 'invalid_coupon_id', { ...good, couponId: 'à' }],
    ['a window the wrong way round', 'invalid_window', { ...good, opensAt: LATER, closesAt: EARLIER }],
    ['a window without length', 'invalid_window', { ...good, opensAt: LATER, closesAt: LATER }],
    ['a time without offset', 'invalid_body', { ...good, opensAt: '2026-12-01T00:00:00' }, 'opensAt'],
    ['a day that is none', 'invalid_body', { ...good, opensAt: '2026-02-30T00:00:00Z' }, 'opensAt'],
    ['a leap second', 'invalid_body', { ...good, opensAt: '2016-12-31T23:59:60Z' }, 'opensAt'],
    ['a time before 1970', 'invalid_body', { ...good, closesAt: '0001-01-01T00:00:00Z' }, 'closesAt'],
    ['a time as a number', 'invalid_body', { ...good, opensAt: 5 }, 'opensAt'],
    ['an unknown level', 'invalid_body', { ...good, ack: 'maybe' }, 'ack'],
    ['returnable as text', 'invalid_body', { ...good, returnable: 'yes' }, 'returnable'],
    ['broken JSON', 'invalid_json', '{"couponId":'],
    ['an array', 'invalid_body', []],
    ['a huge body', 'body_too_large', { ...good, couponId: 'x'.repeat(HTTP_LIMITS.bodyBytesMax) }],
  ])('%s', async (_what, code, body, named = '') => {
    const problem = expectProblem(await ask('POST', '/v1/coupons', body), code);
    expect(problem['detail'] ?? '').toContain(named);
  });

  test('that is no JSON by its type is 415', async () => {
    const headers = [
      ['Authorization', `Bearer ${ADMIN_TOKEN}`],
      ['Content-Type', 'text/plain'],
    ] as const;
    expectProblem(
      await exchange(port, { method: 'POST', path: '/v1/coupons', headers, body: JSON.stringify(good) }),
      'unsupported_media_type',
    );
  });
});

describe('a change', () => {
  test.each<[what: string, code: ErrorCode, method: string, path: string, body?: unknown]>([
    ['pause of nothing', 'unknown_coupon', 'POST', '/v1/coupons/nothing/pause'],
    ['pause of an invalid id', 'invalid_coupon_id', 'POST', '/v1/coupons/a%20b/pause'],
    ['an empty window', 'invalid_body', 'PATCH', '/v1/coupons/there', {}],
    ['no window', 'invalid_body', 'PATCH', '/v1/coupons/there'],
    ['an unknown bound', 'invalid_body', 'PATCH', '/v1/coupons/there', { total: 5 }],
    [
      'a window the wrong way round',
      'invalid_window',
      'PATCH',
      '/v1/coupons/there',
      { opensAt: LATER, closesAt: EARLIER },
    ],
    ['a window of nothing', 'unknown_coupon', 'PATCH', '/v1/coupons/nothing', { opensAt: LATER }],
    ['an unknown verb', 'not_found', 'POST', '/v1/coupons/there/explode'],
    ['delete', 'method_not_allowed', 'DELETE', '/v1/coupons/there'],
  ])('%s', async (_what, code, method, path, body) => {
    expectProblem(await ask(method, path, body), code);
  });
});

describe('a stock change', () => {
  const change = { delta: 5, reason: 'more' };

  test.each<[what: string, code: ErrorCode, body: unknown]>([
    ['without body', 'invalid_body', undefined],
    ['of zero', 'invalid_body', { ...change, delta: 0 }],
    ['of text', 'invalid_body', { ...change, delta: '5' }],
    ['of half a unit', 'invalid_body', { ...change, delta: 0.5 }],
    ['of absurdly many', 'invalid_body', { ...change, delta: -TOTAL_MAX - 1 }],
    ['without reason', 'invalid_body', { delta: 5 }],
    ['with an empty reason', 'invalid_body', { ...change, reason: '' }],
    ['with a reason too long', 'invalid_body', { ...change, reason: 'x'.repeat(201) }],
    ['with a control character', 'invalid_body', { ...change, reason: 'a\u0000b' }],
    ['with a lone surrogate', 'invalid_body', '{"delta":5,"reason":"\\ud800"}'],
    ['below what is claimed', 'below_claimed', { ...change, delta: -500 }],
  ])('%s', async (_what, code, body) => {
    expectProblem(await ask('POST', '/v1/coupons/there/stock', body, [KEY]), code);
  });

  test.each<[what: string, headers: readonly (readonly [string, string])[]]>([
    ['no key', []],
    ['an empty key', [['Idempotency-Key', '']]],
    ['a key too long', [['Idempotency-Key', 'k'.repeat(65)]]],
    ['a key with a space', [['Idempotency-Key', 'a b']]],
    ['a key that is not ASCII', [['Idempotency-Key', '\xe0']]],
    ['two keys', [KEY, KEY]],
  ])('with %s', async (_what, headers) => {
    expectProblem(await ask('POST', '/v1/coupons/there/stock', change, headers), 'invalid_idempotency_key');
  });
});

describe('a query', () => {
  test.each<[query: string, code: ErrorCode, named: string]>([
    ['/v1/coupons?limit=0', 'invalid_query', 'limit'],
    ['/v1/coupons?limit=201', 'invalid_query', 'limit'],
    ['/v1/coupons?limit=-1', 'invalid_query', 'limit'],
    ['/v1/coupons?limit=ten', 'invalid_query', 'limit'],
    ['/v1/coupons?limit=', 'invalid_query', 'limit'],
    ['/v1/coupons?limit=1&limit=2', 'invalid_query', 'limit'],
    ['/v1/coupons?limit=99999999999999999999', 'invalid_query', 'limit'],
    ['/v1/coupons?after=a%20b', 'invalid_query', 'after'],
    ['/v1/coupons?order=total', 'invalid_query', '"order"'],
    ['/v1/coupons/there/claims?no=0', 'invalid_query', 'no'],
    ['/v1/coupons/there/claims?no=x', 'invalid_query', 'no'],
    ['/v1/coupons/there/claims?after=-1', 'invalid_query', 'after'],
    ['/v1/coupons/there/claims?format=xml', 'invalid_query', 'format'],
    ['/v1/coupons/there/claims?user=', 'invalid_user_id', ''],
    ['/v1/coupons/there/claims?user=a%00', 'invalid_user_id', ''],
  ])('%s', async (path, code, named) => {
    const problem = expectProblem(await ask('GET', path), code);
    expect(problem['detail'] ?? '').toContain(named);
  });
});

test('random bodies and queries never get a 5xx', async () => {
  const members = fc.record(
    {
      couponId: fc.anything(),
      total: fc.anything(),
      opensAt: fc.anything(),
      closesAt: fc.oneof(fc.anything(), fc.constant(LATER)),
      ack: fc.anything(),
      delta: fc.anything(),
      reason: fc.anything(),
    },
    { requiredKeys: [] },
  );
  const path = fc.constantFrom(
    '/v1/coupons',
    '/v1/coupons/there',
    '/v1/coupons/there/stock',
    '/v1/coupons/there/pause',
  );
  const query = fc.oneof(
    fc.constant(''),
    fc.webQueryParameters().map((text) => `?${text}`),
  );
  const method = fc.constantFrom('GET', 'POST', 'PATCH');
  await fc.assert(
    fc.asyncProperty(method, path, query, members, async (verb, address, parameters, body) => {
      const answer = await ask(verb, address + parameters, JSON.stringify(body, bigintAsText), [KEY]);
      expect(answer.status).toBeGreaterThanOrEqual(200);
      expect(answer.status).toBeLessThan(500);
      expectNoStack(answer.body);
    }),
    { seed: 20_261_127, numRuns: 300 },
  );
  expect(logged).toEqual([]);
});

function bigintAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
