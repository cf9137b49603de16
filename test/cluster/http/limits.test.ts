// What one client, however slow, greedy or many, can take from the others: connections, time, requests, and the load that a
// late process refuses.
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { LoopDelay } from '../../../cluster/http/load-shedding.js';
import { networkOf, RateLimiter } from '../../../cluster/http/rate-limits.js';
import { ERRORS } from '../../../platform/errors.js';
import { waitFor } from '../../harness/wait-for.js';
import { startPublicApi } from './public-api.js';
import { exchange, exchangeBytes, expectProblem, parseAnswer, requestBytes } from './raw-http.js';
import type { RawAnswer } from './raw-http.js';

const CLAIM = '/v1/coupons/open/claims';
const claim = (port: number, headers: readonly (readonly [string, string])[]): Promise<RawAnswer> =>
  exchange(port, { method: 'POST', path: CLAIM, headers });

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

describe('connections', () => {
  test('beyond the limit are closed at once, and taken again when others have gone', async () => {
    const { port } = await startPublicApi({}, { connectionsMax: 3 });
    const held = [await open(port), await open(port), await open(port)];
    await waitFor(async () => (await exchangeBytes(port, 'GET /healthz HTTP/1.1\r\n').catch(() => '')) === '', {
      what: 'a further connection to be closed',
    });
    for (const socket of held) socket.destroy();
    await waitFor(async () => (await exchange(port, { path: '/healthz' })).status === 200, { what: 'a free place' });
  });

  test('that are idle are closed after the keep-alive time, which is announced', async () => {
    const { port } = await startPublicApi({}, { keepAliveTimeoutMs: 1_000 });
    const text = await exchangeBytes(port, 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(parseAnswer(text)).toMatchObject({ status: 200 });
    expect(parseAnswer(text).headers.get('keep-alive')).toBe('timeout=1');
  });

  test('that trickle their headers or bodies are answered 408 in time, and serve others meanwhile', async () => {
    const { port } = await startPublicApi({}, { headersTimeoutMs: 300, requestTimeoutMs: 600, timeoutCheckMs: 50 });
    const trickle = async (first: string, piece: string): Promise<string> => {
      const socket = await open(port);
      const drip = setInterval(() => socket.write(piece), 20);
      let answer = '';
      socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
      socket.write(first);
      await once(socket, 'close');
      clearInterval(drip);
      return answer;
    };
    const body = `POST ${CLAIM} HTTP/1.1\r\nHost: a\r\nX-User-Id: slow\r\nContent-Length: 9999\r\n\r\n`;
    const slow = [
      trickle('GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ', 'a'),
      trickle('GET /healthz HTTP/1.1\r\nHost: a\r\n', 'X-More: a\r\n'),
      trickle(body, 'x'),
    ];
    let over = false;
    const others = (async () => {
      for (let i = 0; !over; i++) expect((await claim(port, [['X-User-Id', `u${i}`]])).status).toBe(201);
    })();
    for (const answer of await Promise.all(slow)) expectProblem(parseAnswer(answer), 'request_timeout');
    over = true;
    await others;
  });

  test('that do not read their answers are cut', async () => {
    const { port, api } = await startPublicApi({}, { inactivityTimeoutMs: 300 });
    const socket = await open(port);
    socket.pause();
    const request = 'GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n';
    const pump = setInterval(() => socket.write(request.repeat(50)), 10);
    const connections = (): Promise<number> =>
      new Promise((resolve) => api.app.server.getConnections((_error, count) => resolve(count)));
    try {
      await waitFor(async () => (await connections()) === 0, { what: 'the server to cut it' });
    } finally {
      clearInterval(pump);
      socket.destroy();
    }
  });
});

describe('rates', () => {
  const user = (name: string) => [['X-User-Id', name]] as const;

  test('without limits nobody is counted', async () => {
    const { port } = await startPublicApi();
    expect((await claim(port, user('ann'))).headers.has('ratelimit')).toBe(false);
  });

  test('of a user: so many a minute, said in headers, and no other user is concerned', async () => {
    const { port, claims } = await startPublicApi({ USER_RATE_LIMIT: '3' });
    for (const remaining of [2, 1, 0]) {
      const answer = await claim(port, user('ann'));
      expect(answer.status).toBeLessThan(300);
      expect(answer.headers.get('ratelimit-policy')).toBe('"user";q=3;w=60');
      expect(answer.headers.get('ratelimit')).toMatch(new RegExp(`^"user";r=${remaining};t=(60|[1-5]?\\d)$`));
    }
    const given = claims.given.size;
    const refused = await exchange(port, { path: `${CLAIM}/me`, headers: user('ann') });
    expect(refused.status).toBe(429);
    expect(JSON.parse(refused.body)).toMatchObject({ code: 'rate_limited', title: ERRORS.rate_limited.title });
    expect(refused.headers.get('retry-after')).toBe(/t=(\d+)/.exec(refused.headers.get('ratelimit') ?? '')?.[1]);
    expect((await claim(port, user('bob'))).status).toBe(201);
    expect(claims.given.size).toBe(given + 1);
    // Whoever is nobody hears that.
    expectProblem(await claim(port, []), 'unauthenticated');
  });

  test('of an address, whatever it asks, also by guessing tokens; health is not counted', async () => {
    const { port } = await startPublicApi({
      ADDRESS_RATE_LIMIT: '2',
      USER_RATE_LIMIT: '9',
      GATEWAY_TOKEN: 'x'.repeat(16),
    });
    expectProblem(await claim(port, [...user('ann'), ['X-Gateway-Token', 'guess']]), 'unauthenticated');
    const second = await claim(port, [...user('ann'), ['X-Gateway-Token', 'x'.repeat(16)]]);
    expect(second.headers.get('ratelimit-policy')).toBe('"address";q=2;w=60, "user";q=9;w=60');
    expect(second.headers.get('ratelimit')).toMatch(/^"address";r=0;t=\d+, "user";r=8;t=\d+$/);
    expect((await exchange(port, { path: '/v1/coupons/open' })).status).toBe(429);
    expect((await exchange(port, { path: '/healthz' })).status).toBe(200);
  });

  test('of an address behind a proxy that is trusted, and not behind one that is not', async () => {
    const from = (address: string) => [...user('ann'), ['X-Forwarded-For', address]] as const;
    const trusting = await startPublicApi({ ADDRESS_RATE_LIMIT: '1', TRUSTED_PROXIES: '127.0.0.0/8' });
    for (const address of ['203.0.113.1', '203.0.113.2']) {
      expect((await claim(trusting.port, from(address))).status).toBeLessThan(300);
      expect((await claim(trusting.port, from(address))).status).toBe(429);
    }
    // What the client claims about itself, before the proxy adds what it saw.
    expect((await claim(trusting.port, from('198.51.100.7, 203.0.113.1'))).status).toBe(429);
    const wary = await startPublicApi({ ADDRESS_RATE_LIMIT: '1' });
    expect((await claim(wary.port, from('203.0.113.1'))).status).toBe(201);
    expect((await claim(wary.port, from('203.0.113.2'))).status).toBe(429);
  });

  test('count an IPv6 network as one', () => {
    const one = '2001:db8:0:1::/64';
    for (const address of ['2001:db8:0:1::5', '2001:DB8::1:ffff:1:2:3', '2001:db8:0:1:0:0:0:1%eth0']) {
      expect([address, networkOf(address)]).toEqual([address, one]);
    }
    expect(networkOf('2001:db8:0:2::5')).not.toBe(one);
    expect(networkOf('::ffff:192.0.2.1')).toBe('192.0.2.1');
    expect(networkOf('::1')).toBe('0:0:0:0::/64');
    expect(networkOf('192.0.2.1')).toBe('192.0.2.1');
  });

  test('hold a bounded number of keys, and go on counting those', () => {
    const limiter = new RateLimiter({ name: 'user', requestsMax: 1 });
    limiter.take('early');
    for (let i = 0; i < 250_000; i++) limiter.take(`user-${i}`);
    expect(limiter.take('early').allowed).toBe(false);
    expect(limiter.keys).toBe(200_000);
  });
});

describe('a process that is late', () => {
  test.each([
    ['trusted', {}, 90],
    ['jwt', { AUTH_MODE: 'jwt', JWT_SECRET: 'x'.repeat(32) }, 50],
  ])(
    'in %s mode refuses a part of the claims, before it looks at them, and every batch',
    async (_mode, env, served) => {
      let shed = 0;
      const { port } = await startPublicApi(env, {}, { isLate: () => true, onShed: () => (shed += 1) });
      const answers = await Promise.all(Array.from({ length: 100 }, () => claim(port, [])));
      // Those that are looked at do not say who asks.
      expect(answers.filter(({ status }) => status === 401)).toHaveLength(served);
      const refused = answers.filter(({ status }) => status !== 401);
      for (const answer of refused) expectProblem(answer, 'overloaded');
      const batch = { method: 'POST', path: `${CLAIM}:batch`, body: '{' } as const;
      expectProblem(await exchange(port, batch), 'overloaded');
      expect(shed).toBe(100 - served + 1);
      expect((await exchange(port, { path: '/v1/coupons/open' })).status).toBe(200);
    },
  );

  test('knows it from its event loop, and knows when that is over', async () => {
    const delay = new LoopDelay(50);
    delay.start();
    try {
      const block = async (): Promise<boolean> => {
        const until = performance.now() + 300;
        while (performance.now() < until);
        await new Promise((resolve) => setImmediate(resolve));
        return delay.isLate();
      };
      expect(await block()).toBe(false);
      await waitFor(async () => (await block()) || (await block()) || (await block()), {
        what: 'the delay to be seen',
      });
      await waitFor(() => !delay.isLate(), { what: 'the delay to be over' });
    } finally {
      delay.stop();
    }
  });
});

test('pipelined requests are answered in order and one by one', async () => {
  const { port } = await startPublicApi();
  const ask = (name: string, last = false): string => {
    const text = requestBytes({ method: 'POST', path: CLAIM, headers: [['X-User-Id', name]] }).toString('latin1');
    return last ? text : text.replace('Connection: close\r\n', '');
  };
  const text = await exchangeBytes(port, ask('p1') + ask('p2') + ask('p1', true));
  expect(
    [...text.matchAll(/"status":"(\w+)".*?"userId":"(\w+)"/g)].map(([, status, who]) => `${status} ${who}`),
  ).toEqual(['claimed p1', 'claimed p2', 'already_claimed p1']);
});
