// Who may claim as whom: the gateway's token, and bearer tokens by shared key and by key set, right and wrong in every way.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import type { JWK, JWTPayload } from 'jose';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { VerifiedTokens } from '../../../cluster/http/verified-tokens.js';
import { atEndOfFile } from '../../harness/cleanup.js';
import { startPublicApi } from './public-api.js';
import { exchange, expectProblem, unusedPort } from './raw-http.js';
import type { RawAnswer } from './raw-http.js';

const SECRET = 'a shared key of tokens, long enough'.replaceAll(' ', '-');
const ISSUER = 'https://issuer.example';
const AUDIENCE = 'stampede';

function claim(port: number, headers: readonly (readonly [string, string])[]): Promise<RawAnswer> {
  return exchange(port, { method: 'POST', path: '/v1/coupons/open/claims', headers });
}

const claimWith = (port: number, token: string): Promise<RawAnswer> =>
  claim(port, [['Authorization', `Bearer ${token}`]]);

function expectUnauthenticated(answer: RawAnswer): void {
  expectProblem(answer, 'unauthenticated');
  expect(answer.headers.get('www-authenticate')).toMatch(/^(Bearer|Gateway) realm="stampede"/);
}

describe('behind a gateway with a token', async () => {
  const token = 'gateway-secret-gateway-secret';
  const { port } = await startPublicApi({ GATEWAY_TOKEN: token, HOST: '0.0.0.0' });

  test('the header of the gateway counts', async () => {
    const answer = await claim(port, [
      ['X-User-Id', 'ann'],
      ['X-Gateway-Token', token],
    ]);
    expect(answer.status).toBe(201);
  });

  test.each([
    ['no token', []],
    ['a wrong token', [['X-Gateway-Token', 'gateway-secret-gateway-secreT']]],
    ['a longer token', [['X-Gateway-Token', `${token}x`]]],
    ['an empty token', [['X-Gateway-Token', '']]],
    [
      'the token twice',
      [
        ['X-Gateway-Token', token],
        ['X-Gateway-Token', token],
      ],
    ],
  ] as const)('%s is 401', async (_what, headers) => {
    expectUnauthenticated(await claim(port, [['X-User-Id', 'ann'], ...headers]));
  });

  test('a missing user is 401', async () => {
    expectUnauthenticated(await claim(port, [['X-Gateway-Token', token]]));
  });
});

describe('tokens by shared key', async () => {
  const { port } = await startPublicApi({
    AUTH_MODE: 'jwt',
    JWT_SECRET: SECRET,
    JWT_ISSUER: ISSUER,
    JWT_AUDIENCE: AUDIENCE,
  });
  const key = new TextEncoder().encode(SECRET);
  const good = { sub: 'ann', iss: ISSUER, aud: AUDIENCE, exp: inSeconds(60) };
  const sign = (payload: JWTPayload, alg = 'HS256'): Promise<string> =>
    new SignJWT(payload).setProtectedHeader({ alg }).sign(key);

  test('the sub is the user', async () => {
    const answer = await claimWith(port, await sign({ ...good, sub: 'zoë' }));
    expect(answer.status).toBe(201);
    expect(JSON.parse(answer.body)).toMatchObject({ userId: 'zoë' });
  });

  test('clocks may differ by seconds', async () => {
    expect((await claimWith(port, await sign({ ...good, sub: 'late', exp: inSeconds(-2) }))).status).toBe(201);
  });

  test.each<[what: string, token: () => Promise<string>]>([
    ['expired', () => sign({ ...good, exp: inSeconds(-60) })],
    ['not yet valid', () => sign({ ...good, nbf: inSeconds(60) })],
    ['of another issuer', () => sign({ ...good, iss: 'https://else.example' })],
    ['for another audience', () => sign({ ...good, aud: 'else' })],
    ['without audience', () => sign({ sub: 'ann', iss: ISSUER, exp: good.exp })],
    ['without sub', () => sign({ iss: ISSUER, aud: AUDIENCE, exp: good.exp })],
    ['with an empty sub', () => sign({ ...good, sub: '' })],
    ['with a sub too long', () => sign({ ...good, sub: 'x'.repeat(65) })],
    ['with a control character in its sub', () => sign({ ...good, sub: 'a\nb' })],
    ['with a number for its sub', () => sign({ ...good, sub: 5 as never })],
    ['signed with another algorithm', () => sign(good, 'HS512')],
    ['not signed', () => Promise.resolve(new UnsecuredJWT(good).encode())],
    [
      'signed with another key',
      () => new SignJWT(good).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from('x'.repeat(32))),
    ],
    ['cut', async () => (await sign(good)).slice(0, -3)],
    ['rubbish', () => Promise.resolve('rubbish')],
    ['three dots', () => Promise.resolve('...')],
  ])('a token %s is 401', async (_what, token) => {
    const answer = await claimWith(port, await token());
    expectUnauthenticated(answer);
    expect(answer.headers.get('www-authenticate')).toContain('error="invalid_token"');
  });

  test.each(['', 'Basic YTpi', 'Bearer', 'Bearer ', 'Bearer a b'])('the header "%s" is 401', async (value) => {
    expectUnauthenticated(await claim(port, [['Authorization', value]]));
  });

  test('X-User-Id does not count', async () => {
    expectUnauthenticated(await claim(port, [['X-User-Id', 'ann']]));
  });

  test('a receipt wants the token as well', async () => {
    expectUnauthenticated(await exchange(port, { path: '/v1/coupons/open/claims/me' }));
  });
});

describe('tokens by key set', async () => {
  const keySet = await startKeySet();
  const environment = { AUTH_MODE: 'jwt', JWT_JWKS_URL: keySet.url };
  const payload = { sub: 'ann', exp: inSeconds(60) };

  test.each(['RS256', 'PS256', 'ES256', 'EdDSA'])('%s is accepted', async (alg) => {
    const { port } = await startPublicApi(environment);
    const { privateKey, publicKey } = await generateKeyPair(alg);
    keySet.keys = [{ ...(await exportJWK(publicKey)), kid: alg, alg }];
    const token = await new SignJWT(payload).setProtectedHeader({ alg, kid: alg }).sign(privateKey);
    expect((await claimWith(port, token)).status).toBe(201);
  });

  test('an unknown key, an algorithm beyond the list and a public key used as a shared one are 401', async () => {
    const { port } = await startPublicApi(environment);
    const published = await generateKeyPair('RS256', { extractable: true });
    const unpublished = await generateKeyPair('RS256');
    const jwk = await exportJWK(published.publicKey);
    keySet.keys = [{ ...jwk, kid: 'k' }];
    const publicKeyAsSecret = new TextEncoder().encode(JSON.stringify(jwk));
    for (const [alg, key, kid] of [
      ['RS256', unpublished.privateKey, 'k'],
      ['RS256', unpublished.privateKey, 'else'],
      ['HS256', publicKeyAsSecret, 'k'],
    ] as const) {
      expectUnauthenticated(
        await claimWith(port, await new SignJWT(payload).setProtectedHeader({ alg, kid }).sign(key)),
      );
    }
    const other = await generateKeyPair('RS512');
    keySet.keys = [{ ...(await exportJWK(other.publicKey)), kid: 'k' }];
    const token = await new SignJWT(payload).setProtectedHeader({ alg: 'RS512', kid: 'k' }).sign(other.privateKey);
    expectUnauthenticated(await claimWith(port, token));
  });

  test('a key server that is away, broken or slow is 503, and logged once', async () => {
    const { privateKey } = await generateKeyPair('ES256');
    const token = await new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(privateKey);
    const { port, logged } = await startPublicApi(environment);
    keySet.answer = 'status 500';
    expectProblem(await claimWith(port, token), 'unavailable');
    keySet.answer = 'no JSON';
    expectProblem(await claimWith(port, token), 'unavailable');
    keySet.answer = 'keys';
    const nowhere = await startPublicApi({
      AUTH_MODE: 'jwt',
      JWT_JWKS_URL: `http://127.0.0.1:${await unusedPort()}/jwks`,
    });
    expectProblem(await claimWith(nowhere.port, token), 'unavailable');
    expect(logged).toHaveLength(1);
  });

  test('the key set is fetched once for many tokens', async () => {
    const { port } = await startPublicApi(environment);
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    keySet.keys = [{ ...(await exportJWK(publicKey)), kid: 'many' }];
    const before = keySet.fetches();
    for (let i = 0; i < 5; i++) {
      const token = await new SignJWT({ ...payload, sub: `u${i}` })
        .setProtectedHeader({ alg: 'ES256', kid: 'many' })
        .sign(privateKey);
      expect((await claimWith(port, token)).status).toBe(201);
    }
    expect(keySet.fetches() - before).toBe(1);
  });
});

describe('a token that was verified a moment ago', async () => {
  const key = new TextEncoder().encode(SECRET);
  const { port } = await startPublicApi({ AUTH_MODE: 'jwt', JWT_SECRET: SECRET });
  const sign = (payload: JWTPayload): Promise<string> =>
    new SignJWT(payload).setProtectedHeader({ alg: 'HS256' }).sign(key);
  const verifications = vi.spyOn(crypto.subtle, 'verify');
  // The clock alone: timers and sockets go on.
  const setClock = (offsetMs: number): unknown => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + offsetMs });
  afterEach(() => vi.useRealTimers());

  test('is not verified again', async () => {
    const token = await sign({ sub: 'ann', exp: inSeconds(600) });
    verifications.mockClear();
    for (let i = 0; i < 5; i++) expect((await claimWith(port, token)).status).toBe(i === 0 ? 201 : 200);
    expect(verifications).toHaveBeenCalledTimes(1);
  });

  test('counts no longer than its exp says', async () => {
    const token = await sign({ sub: 'bob', exp: inSeconds(30) });
    expect((await claimWith(port, token)).status).toBe(201);
    setClock(29_000);
    expect((await claimWith(port, token)).status).toBe(200);
    vi.useRealTimers();
    setClock(36_000);
    expectUnauthenticated(await claimWith(port, token));
  });

  test('is verified again after a minute', async () => {
    const token = await sign({ sub: 'cid' });
    await claimWith(port, token);
    verifications.mockClear();
    setClock(61_000);
    expect((await claimWith(port, token)).status).toBe(200);
    expect(verifications).toHaveBeenCalledTimes(1);
  });

  test('is another one as soon as one letter of it is', async () => {
    const token = await sign({ sub: 'dan', exp: inSeconds(600) });
    expect((await claimWith(port, token)).status).toBe(201);
    for (const end of ['A', 'Q', 'g', 'w']) {
      const other = token.slice(0, -1) + end;
      if (other !== token) expectUnauthenticated(await claimWith(port, other));
    }
  });

  test('is forgotten when there are too many, the oldest first', () => {
    const tokens = new VerifiedTokens({ countMax: 3, lifetimeMs: 60_000 });
    for (const user of ['a', 'b', 'c', 'a', 'd']) tokens.remember(`token of ${user}`, user, undefined);
    expect(tokens.count).toBe(3);
    expect(['a', 'b', 'c', 'd'].map((user) => tokens.userOf(`token of ${user}`))).toEqual(['a', undefined, 'c', 'd']);
  });
});

describe('when the issuer changes its keys', async () => {
  const keySet = await startKeySet();
  const { port } = await startPublicApi({ AUTH_MODE: 'jwt', JWT_JWKS_URL: keySet.url });
  const pair = async (kid: string) => {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    const jwk = { ...(await exportJWK(publicKey)), kid };
    const sign = (sub: string): Promise<string> =>
      new SignJWT({ sub }).setProtectedHeader({ alg: 'ES256', kid }).sign(privateKey);
    return { jwk, sign };
  };
  afterEach(() => vi.useRealTimers());

  test('a new key counts soon, unknown ones cause no storm of fetches, and a withdrawn one ends in bounded time', async () => {
    const [old, young] = [await pair('old'), await pair('young')];
    keySet.keys = [old.jwk];
    const start = Date.now();
    const at = (ms: number): unknown => vi.useFakeTimers({ toFake: ['Date'], now: start + ms });
    at(0);
    expect((await claimWith(port, await old.sign('ann'))).status).toBe(201);
    keySet.keys = [old.jwk, young.jwk];
    for (let i = 0; i < 20; i++) expectUnauthenticated(await claimWith(port, await young.sign('bob')));
    expect(keySet.fetches()).toBe(1);
    at(31_000);
    expect((await claimWith(port, await young.sign('bob'))).status).toBe(201);
    expect(keySet.fetches()).toBe(2);

    keySet.keys = [young.jwk];
    const token = await old.sign('ann');
    expect((await claimWith(port, token)).status).toBe(200);
    at(31_000 + 600_000 + 60_000);
    expectUnauthenticated(await claimWith(port, token));
  });
});

describe('a proxy in front of a listener that believes everybody', () => {
  const forwarded = [
    ['X-User-Id', 'ann'],
    ['X-Forwarded-For', '203.0.113.9'],
  ] as const;

  test('is warned of, once', async () => {
    const { port, logged } = await startPublicApi();
    await claim(port, [['X-User-Id', 'ann']]);
    expect(logged).toEqual([]);
    for (let i = 0; i < 5; i++) expect((await claim(port, forwarded)).status).toBe(200);
    await claim(port, [
      ['X-User-Id', 'ann'],
      ['Forwarded', 'for=203.0.113.9'],
    ]);
    expect(logged).toMatchObject([
      { level: 40, header: 'x-forwarded-for', msg: expect.stringContaining('GATEWAY_TOKEN') as string },
    ]);
  });

  test('is fine where it proves itself', async () => {
    const { port, logged } = await startPublicApi({ GATEWAY_TOKEN: SECRET });
    expect((await claim(port, [...forwarded, ['X-Gateway-Token', SECRET]])).status).toBe(201);
    expect(logged).toEqual([]);
  });
});

function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1_000) + seconds;
}

interface KeySet {
  readonly url: string;
  keys: JWK[];
  answer: 'keys' | 'status 500' | 'no JSON';
  fetches(): number;
}

async function startKeySet(): Promise<KeySet> {
  let fetches = 0;
  const server = createServer((_request, response) => {
    fetches++;
    response.statusCode = keySet.answer === 'status 500' ? 500 : 200;
    response.setHeader('content-type', 'application/json');
    response.end(keySet.answer === 'no JSON' ? '<html>' : JSON.stringify({ keys: keySet.keys }));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  atEndOfFile(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  const keySet: KeySet = { url: `http://127.0.0.1:${port}/jwks`, keys: [], answer: 'keys', fetches: () => fetches };
  return keySet;
}
