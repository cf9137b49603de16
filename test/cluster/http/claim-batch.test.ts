// The batch endpoint: one answer for each user in their order, the same receipts as single claims, for trusted servers only.
import { beforeAll, describe, expect, test } from 'vitest';
import type { ClaimOutcome } from '../../../cluster/claims/claim-service.js';
import type { RunningClaimService } from '../../../cluster/claims/redis-claim-service.js';
import { BATCH_USERS_MAX } from '../../../cluster/http/claim-batch-routes.js';
import type { CouponsService } from '../../../coupons/coupons.js';
import type { ErrorCode } from '../../../platform/errors.js';
import type { Installation } from '../../harness/installation.js';
import { createInstallation } from '../../harness/installation.js';
import { users } from '../../harness/crowd.js';
import { waitFor } from '../../harness/wait-for.js';
import { startPublicApi } from './public-api.js';
import { exchange, expectProblem } from './raw-http.js';
import type { RawAnswer } from './raw-http.js';

const TOKEN = 'gateway-secret-gateway-secret';
const { port, claims } = await startPublicApi();

function askBatch(
  onPort: number,
  couponId: string,
  body: unknown,
  headers: readonly (readonly [string, string])[] = [],
): Promise<RawAnswer> {
  return exchange(onPort, {
    method: 'POST',
    path: `/v1/coupons/${couponId}/claims:batch`,
    headers: [['Content-Type', 'application/json'], ...headers],
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

interface Result {
  status: string;
  userId: string;
  claimNo?: number;
  code?: string;
}
const resultsOf = (answer: RawAnswer): Result[] => (JSON.parse(answer.body) as { claims: Result[] }).claims;

describe('a batch', () => {
  test('answers each user as a single claim would, in order', async () => {
    const single = await exchange(port, {
      method: 'POST',
      path: '/v1/coupons/open/claims',
      headers: [['X-User-Id', 'ann']],
    });
    expect(single.status).toBe(201);
    const answer = await askBatch(port, 'open', { users: ['bob', 'ann', 'zoë', 'bob'] });
    expect(answer.status).toBe(200);
    const shared = { couponId: 'open', claimedAt: '2026-11-27T09:00:00.123Z', ack: 'fsync' };
    expect(resultsOf(answer)).toEqual([
      { status: 'claimed', userId: 'bob', claimNo: 2, ...shared },
      { status: 'already_claimed', userId: 'ann', claimNo: 1, ...shared },
      { status: 'claimed', userId: 'zoë', claimNo: 3, ...shared },
      { status: 'already_claimed', userId: 'bob', claimNo: 2, ...shared },
    ]);
  });

  test('refuses a malformed id alone', async () => {
    const answer = await askBatch(port, 'open', { users: ['', 'cid', 'x'.repeat(65), 'a\u0000', '\ud800'] });
    expect(resultsOf(answer).map(({ code, status }) => code ?? status)).toEqual([
      'invalid_user_id',
      'claimed',
      ...['invalid_user_id', 'invalid_user_id', 'invalid_user_id'],
    ]);
  });

  test.each<ErrorCode>(['sold_out', 'not_open', 'paused', 'ended', 'unknown_coupon', 'overloaded', 'outcome_unknown'])(
    'tells %s to each user',
    async (code) => {
      claims.refusals.set(code, code);
      const answer = await askBatch(port, code, { users: ['ann', 'bob'] });
      expect(answer.status).toBe(200);
      const opensAt = code === 'not_open' ? { opensAt: '2026-11-27T09:00:00.000Z' } : {};
      expect(resultsOf(answer)).toEqual(
        ['ann', 'bob'].map((userId) => ({ status: 'refused', couponId: code, userId, code, ...opensAt })),
      );
    },
  );

  test(`takes ${BATCH_USERS_MAX} of the longest ids in their longest form, and not one more`, async () => {
    const longest = (i: number): string =>
      `"${'\\u0061'.repeat(60)}\\u003${Math.floor(i / 1_000)}${String(i % 1_000).padStart(3, '0')}"`;
    const body = (count: number): string =>
      `{"users":[${Array.from({ length: count }, (_, i) => longest(i)).join(',')}]}`;
    const answer = await askBatch(port, 'open', body(BATCH_USERS_MAX));
    expect(answer.status).toBe(200);
    expect(new Set(resultsOf(answer).map(({ claimNo }) => claimNo)).size).toBe(BATCH_USERS_MAX);
    expectProblem(await askBatch(port, 'open', { users: users(BATCH_USERS_MAX + 1) }), 'invalid_body');
  });

  test.each<[what: string, code: ErrorCode, couponId: string, body: unknown]>([
    ['no users', 'invalid_body', 'open', {}],
    ['an empty list', 'invalid_body', 'open', { users: [] }],
    ['a user that is no text', 'invalid_body', 'open', { users: ['ann', 5] }],
    ['an unknown member', 'invalid_body', 'open', { users: ['ann'], ack: 'redis' }],
    ['an invalid coupon id', 'invalid_coupon_id', 'a%20b', { users: ['ann'] }],
    ['broken JSON', 'invalid_json', 'open', '{'],
    ['a body too large', 'body_too_large', 'open', { users: ['x'.repeat(400_000)] }],
  ])('%s: %s', async (_what, code, couponId, body) => {
    expectProblem(await askBatch(port, couponId, body), code);
  });
});

describe('only a trusted server may send one', () => {
  test('with the token of the gateway, where there is one', async () => {
    const guarded = await startPublicApi({ GATEWAY_TOKEN: TOKEN });
    const body = { users: ['ann'] };
    expectProblem(await askBatch(guarded.port, 'open', body), 'unauthenticated');
    expectProblem(await askBatch(guarded.port, 'open', body, [['X-Gateway-Token', `${TOKEN}x`]]), 'unauthenticated');
    expect((await askBatch(guarded.port, 'open', body, [['X-Gateway-Token', TOKEN]])).status).toBe(200);
    expect([...guarded.claims.given.keys()]).toEqual(['open ann']);
  });

  test('and nobody where users bring tokens of their own', async () => {
    const jwt = await startPublicApi({ AUTH_MODE: 'jwt', JWT_SECRET: 'x'.repeat(32) });
    expectProblem(await askBatch(jwt.port, 'open', { users: ['ann'] }), 'forbidden');
    expect(jwt.claims.given.size).toBe(0);
  });
});

describe('batches on the real claim path', () => {
  let installation: Installation;
  let ledger: Awaited<ReturnType<Installation['startLedger']>>;
  let service: RunningClaimService;
  let coupons: CouponsService;

  beforeAll(async () => {
    installation = await createInstallation();
    ledger = await installation.startLedger();
    service = await installation.startClaims();
    coupons = await installation.startCoupons();
  });
  const create = (couponId: string, total: number) =>
    coupons.create({ couponId, total, opensAt: null, closesAt: null, ack: 'ledger', returnable: false });
  const allWritten = () =>
    waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
  const heard = (outcomes: readonly ClaimOutcome[]) =>
    outcomes.map((outcome) =>
      outcome.status === 'refused' ? outcome.code : [outcome.status, outcome.receipt.claimNo],
    );

  test('that overlap: as many winners as units, one number each, all in the ledger', async () => {
    const total = 1_500;
    await create('many', total);
    const crowd = users(2_000);
    const asked = [crowd.slice(0, 1_000), crowd.slice(500, 1_500), crowd.slice(1_000), ['user-0', 'user-0']];
    const outcomes = await Promise.all(asked.map((some) => service.claimAll('many', some)));
    const receipts = new Map<string, Set<number>>();
    const refused: string[] = [];
    outcomes.forEach((ofBatch, batch) => {
      expect(ofBatch).toHaveLength(asked[batch]?.length ?? 0);
      ofBatch.forEach((outcome, i) => {
        const userId = asked[batch]?.[i] ?? '';
        if (outcome.status === 'refused') refused.push(outcome.code);
        else receipts.set(userId, (receipts.get(userId) ?? new Set()).add(outcome.receipt.claimNo));
      });
    });
    expect(new Set(refused)).toEqual(new Set(['sold_out']));
    expect([...receipts.values()].map((numbers) => numbers.size)).toEqual(Array(total).fill(1));
    expect(new Set([...receipts.values()].flatMap((numbers) => [...numbers])).size).toBe(total);
    const rows = await installation.claimRows('many');
    expect(rows.map(({ claimNo }) => claimNo)).toEqual(Array.from({ length: total }, (_, i) => i + 1));
    expect(rows.every(({ userId, claimNo }) => receipts.get(userId)?.has(claimNo) === true)).toBe(true);
    await allWritten();
    expect((await coupons.audit()).ok).toBe(true);
  });

  test('tell each user what is true of that user: receipt, unknown, sold out; and receipts whatever became of the coupon', async () => {
    const impatient = await installation.startClaims({ claimTimeoutMs: 1_000 });
    await create('mixed', 2);
    expect(heard(await service.claimAll('mixed', ['ann', 'ann']))).toEqual([
      ['claimed', 1],
      ['already_claimed', 1],
    ]);
    // From now on nobody writes what is granted to MySQL, and the coupon's level is that somebody has.
    await ledger.drain();
    expect(heard(await impatient.claimAll('mixed', ['ann', 'bob', 'cid', 'bob']))).toEqual([
      ['already_claimed', 1],
      'outcome_unknown',
      'sold_out',
      'outcome_unknown',
    ]);
    ledger = await installation.startLedger();
    await coupons.pause('mixed');
    expect(heard(await service.claimAll('mixed', ['bob', 'cid', 'ann']))).toEqual([
      ['already_claimed', 2],
      'paused',
      ['already_claimed', 1],
    ]);
    await allWritten();
  });
});
