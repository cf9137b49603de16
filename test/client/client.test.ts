// The client against the real API server: what it repeats and what it does not, when, and what it says when it gives up.
import { getEventListeners } from 'node:events';
import { SignJWT } from 'jose';
import { describe, expect, test, vi } from 'vitest';
import { BUSY_CODES, REFUSAL_CODES } from '../../client/answers.js';
import { StampedeClient, StampedeClientError } from '../../client/client.js';
import type { ClientOptions } from '../../client/client.js';
import { retryAfterMs } from '../../client/retry.js';
import type { ClaimOutcome } from '../../cluster/claims/claim-service.js';
import { CLAIM_REFUSALS } from '../../cluster/http/claim-routes.js';
import type { ErrorCode } from '../../platform/errors.js';
import { startPublicApi } from '../cluster/http/public-api.js';
import { unusedPort } from '../cluster/http/raw-http.js';
import { users } from '../harness/crowd.js';

const { port, api, claims } = await startPublicApi();
let requests = 0;
api.app.server.on('request', () => requests++);

const clientOf = (options: Partial<ClientOptions> = {}): StampedeClient =>
  new StampedeClient({ baseUrl: `http://127.0.0.1:${port}/`, ...options });
const client = clientOf();
const refused = (code: ErrorCode): ClaimOutcome => ({ status: 'refused', code });

/** The error that a call ends with, and how many requests it took. */
async function failure(call: () => Promise<unknown>): Promise<{ error: StampedeClientError; asked: number }> {
  const before = requests;
  const error: unknown = await call().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StampedeClientError);
  return { error: error as StampedeClientError, asked: requests - before };
}

test('a claim, the same again, its receipt and its coupon', async () => {
  const receipt = { couponId: 'open', userId: 'ann', claimNo: 1, claimedAt: '2026-11-27T09:00:00.123Z', ack: 'fsync' };
  expect(await client.claim('open', 'ann')).toEqual({ status: 'claimed', ...receipt });
  expect(await client.claim('open', 'ann')).toEqual({ status: 'already_claimed', ...receipt });
  expect(await client.receipt('open', 'ann')).toEqual({ status: 'already_claimed', ...receipt });
  expect(await client.receipt('open', 'nobody')).toBeUndefined();
  expect(await client.coupon('open')).toMatchObject({ couponId: 'open', state: 'open', remaining: 7, closesAt: null });
  expect(await client.coupon('nothing')).toBeUndefined();
});

test('user ids travel as their bytes, and never as somebody else', async () => {
  for (const userId of ['zoë', '日本', 'a, b']) {
    expect(await client.claim('open', userId)).toMatchObject({ status: 'claimed', userId });
  }
  for (const userId of [' ann', 'ann ', '', 'a\nb', 'x'.repeat(100_000)]) {
    const { error, asked } = await failure(() => client.claim('open', userId));
    expect([error.code, error.mayBeGranted, asked]).toEqual(['invalid_user_id', false, 0]);
  }
});

test('a token of the user', async () => {
  const secret = 'a-shared-key-that-is-long-enough-for-it';
  const jwt = await startPublicApi({ AUTH_MODE: 'jwt', JWT_SECRET: secret });
  const token = await new SignJWT({ sub: 'eve' })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(secret));
  const other = clientOf({ baseUrl: `http://127.0.0.1:${jwt.port}` });
  expect(await other.claim('open', { token })).toMatchObject({ status: 'claimed', userId: 'eve' });
  expect((await failure(() => other.claim('open', { token: 'a\nb' }))).error.code).toBe('unauthenticated');
});

describe('what is not asked again', () => {
  test.each([...REFUSAL_CODES] as ErrorCode[])('%s is an answer', async (code) => {
    claims.refusals.set(code, code);
    const before = requests;
    const opensAt = code === 'not_open' ? { opensAt: '2026-11-27T09:00:00.000Z' } : {};
    expect(await client.claim(code, 'ann')).toEqual({ status: 'refused', couponId: code, code, ...opensAt });
    expect(requests - before).toBe(1);
  });

  test('what the caller did wrong', async () => {
    const { error, asked } = await failure(() => client.claim('a b', 'ann'));
    expect([error.code, error.status, error.mayBeGranted, asked]).toEqual(['invalid_coupon_id', 400, false, 1]);
  });

  test('a fault of the service, after which a claim may be there', async () => {
    const { error, asked } = await failure(() => client.claim('bug', 'ann'));
    expect([error.code, error.status, error.mayBeGranted, asked]).toEqual(['internal', 500, true, 1]);
    expect(error.requestId).toMatch(/./);
  });
});

describe('what is asked again', () => {
  test('a busy service, after the time that it asks for', async () => {
    const claim = vi.spyOn(claims, 'decide').mockResolvedValueOnce(refused('overloaded'));
    const askedAt = performance.now();
    expect(await client.claim('open', 'patient')).toMatchObject({ status: 'claimed' });
    expect(performance.now() - askedAt).toBeGreaterThanOrEqual(1_000);
    expect(claim).toHaveBeenCalledTimes(2);
    claim.mockRestore();
  });

  test('an unknown outcome, whose claim is there then', async () => {
    const real = claims.decide.bind(claims);
    const claim = vi.spyOn(claims, 'decide').mockImplementationOnce(async (couponId, userId) => {
      await real(couponId, userId);
      return refused('outcome_unknown');
    });
    expect(await client.claim('open', 'doubtful')).toMatchObject({ status: 'already_claimed', userId: 'doubtful' });
    claim.mockRestore();
  });

  test('until the attempts are used up, and whoever was in doubt once stays so', async () => {
    const twice = clientOf({ attemptsMax: 2 });
    claims.refusals.set('busy', 'overloaded');
    const sure = await failure(() => twice.claim('busy', 'ann'));
    expect([sure.error.code, sure.error.mayBeGranted, sure.asked]).toEqual(['overloaded', false, 2]);
    const claim = vi.spyOn(claims, 'decide').mockResolvedValueOnce(refused('outcome_unknown'));
    const unsure = await failure(() => twice.claim('busy', 'ann'));
    expect([unsure.error.code, unsure.error.mayBeGranted, unsure.asked]).toEqual(['overloaded', true, 2]);
    claim.mockRestore();
  });

  test('not when the time would be over before', async () => {
    claims.refusals.set('behind', 'ledger_behind');
    const { error, asked } = await failure(() => clientOf({ timeoutMs: 1_900 }).claim('behind', 'ann'));
    expect([error.code, asked]).toEqual(['ledger_behind', 1]);
  });

  test('when nobody answers at all', async () => {
    const nowhere = clientOf({ baseUrl: `http://127.0.0.1:${await unusedPort()}`, attemptsMax: 3 });
    const { error } = await failure(() => nowhere.claim('open', 'ann'));
    expect([error.code, error.mayBeGranted]).toEqual(['network', true]);
  });
});

describe('an end', () => {
  test('comes in time, with everything taken back', async () => {
    claims.gate = new Promise(() => undefined);
    const impatient = clientOf({ attemptTimeoutMs: 100, timeoutMs: 400, attemptsMax: 2 });
    const { error, asked } = await failure(() => impatient.claim('open', 'late'));
    expect([error.code, error.mayBeGranted, asked]).toEqual(['timeout', true, 2]);
    const caller = new AbortController();
    const call = client.claim('open', 'gone', { signal: caller.signal });
    const before = requests;
    await vi.waitFor(() => expect(requests).toBe(before + 1));
    caller.abort(new Error('the user has left'));
    await expect(call).rejects.toThrow('the user has left');
    expect(getEventListeners(caller.signal, 'abort')).toEqual([]);
    claims.gate = Promise.resolve();
  });

  test('during a pause, too', async () => {
    claims.refusals.set('behind', 'ledger_behind');
    const caller = new AbortController();
    const before = requests;
    const call = client.claim('behind', 'ann', { signal: caller.signal });
    api.app.server.once('request', (_request, response) =>
      response.once('close', () => setTimeout(() => caller.abort(), 20)),
    );
    await expect(call).rejects.toThrow('aborted');
    expect(requests - before).toBe(1);
    expect(getEventListeners(caller.signal, 'abort')).toEqual([]);
    await expect(client.claim('open', 'ann', { signal: AbortSignal.abort() })).rejects.toThrow('aborted');
  });
});

describe('many users', () => {
  test('are asked for in as many requests as it takes, and answered in order', async () => {
    const crowd = users(2_100, 'many');
    const before = requests;
    const answers = await client.claimAll('open', crowd);
    expect(requests - before).toBe(3);
    expect(answers.map((answer) => [answer.status, answer.userId])).toEqual(crowd.map((userId) => ['claimed', userId]));
  });

  test('are asked for again alone, where the service could not decide', async () => {
    const claimAll = vi.spyOn(claims, 'claimAll').mockImplementationOnce(async (couponId, userIds) => {
      const outcomes = await Promise.all(userIds.map((userId) => claims.decide(couponId, userId)));
      return outcomes.map((outcome, i) => (i % 2 === 0 ? outcome : refused('outcome_unknown')));
    });
    const answers = await client.claimAll('open', ['b1', 'b2', 'b3', 'b4', '']);
    expect(answers.map(({ status }) => status)).toEqual([
      ...['claimed', 'already_claimed', 'claimed', 'already_claimed', 'refused'],
    ]);
    expect(answers[4]).toMatchObject({ code: 'invalid_user_id', userId: '' });
    expect(claimAll.mock.calls.map(([, asked]) => asked)).toEqual([
      ['b1', 'b2', 'b3', 'b4'],
      ['b2', 'b4'],
    ]);
    claimAll.mockRestore();
  });

  test('keep what they were told when the rest cannot be had', async () => {
    const real = claims.decide.bind(claims);
    const claim = vi
      .spyOn(claims, 'decide')
      .mockImplementation((...asked) => (asked[1] === 'c2' ? Promise.resolve(refused('fenced')) : real(...asked)));
    const answers = await clientOf({ attemptsMax: 2 }).claimAll('open', ['c1', 'c2']);
    expect(answers).toMatchObject([{ status: 'claimed' }, { status: 'refused', userId: 'c2', code: 'fenced' }]);
    claim.mockRestore();
    const nowhere = clientOf({ baseUrl: `http://127.0.0.1:${await unusedPort()}`, attemptsMax: 1 });
    expect(await nowhere.claimAll('open', ['d1'])).toEqual([
      { status: 'refused', couponId: 'open', userId: 'd1', code: 'outcome_unknown' },
    ]);
  });

  test('are refused as a whole where the token is wrong', async () => {
    const guarded = await startPublicApi({ GATEWAY_TOKEN: 'x'.repeat(16) });
    const baseUrl = `http://127.0.0.1:${guarded.port}`;
    const stranger = await failure(() => clientOf({ baseUrl }).claimAll('open', ['ann']));
    expect(stranger.error.code).toBe('unauthenticated');
    const gateway = clientOf({ baseUrl, gatewayToken: 'x'.repeat(16) });
    expect(await gateway.claimAll('open', ['ann'])).toMatchObject([{ status: 'claimed' }]);
    expect(await gateway.claim('open', 'ann')).toMatchObject({ status: 'already_claimed' });
  });
});

test('the codes are those of the service', () => {
  expect([...REFUSAL_CODES, ...BUSY_CODES].sort()).toEqual([...CLAIM_REFUSALS, 'rate_limited'].sort());
});

test('Retry-After comes in seconds or as a date', () => {
  expect(retryAfterMs('2')).toBe(2_000);
  expect(retryAfterMs(new Date(Date.now() + 60_000).toUTCString())).toBeGreaterThan(50_000);
  expect(retryAfterMs('Mon, 01 Jan 2024 00:00:00 GMT')).toBe(0);
  expect([retryAfterMs(null), retryAfterMs('soon')]).toEqual([undefined, undefined]);
});

test('the package exports it with its types, and it imports nothing', async () => {
  const name = 'stampede/client';
  const exported = (await import(name)) as Record<string, unknown>;
  expect(Object.keys(exported).sort()).toEqual(['StampedeClient', 'StampedeClientError']);
});
