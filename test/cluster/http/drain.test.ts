// A drain fails no request: not those under way, not those that arrive on open connections, not those sent just now.
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { drain, rest } from '../../../cluster/http/listener.js';
import { waitFor } from '../../harness/wait-for.js';
import { startPublicApi } from './public-api.js';
import { exchange } from './raw-http.js';

const LONG_MS = 30_000;

describe('a drain', () => {
  test('fails no request of clients that keep their connections and hammer on', async () => {
    const { port, api } = await startPublicApi();
    const clients = Array.from({ length: 20 }, (_, i) => hammer(port, `client-${i}`));
    await waitFor(() => clients.every((client) => client.answered > 5), { what: 'every client to be answered' });
    await drain(api, Date.now() + LONG_MS);
    const ends = await Promise.all(clients.map((client) => client.end));
    // Each ends by finding nobody listening any more, and never by a broken answer.
    expect(ends).toEqual(clients.map(() => 'ECONNREFUSED'));
  });

  test('waits for a claim under way and answers it', async () => {
    const { port, api, claims } = await startPublicApi();
    let open = (): void => undefined;
    claims.gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const answer = exchange(port, { method: 'POST', path: '/v1/coupons/open/claims', headers: [['X-User-Id', 'a']] });
    await waitFor(async () => (await connectionsOf(api.app.server)) === 1, { what: 'the claim to arrive' });
    const drained = drain(api, Date.now() + LONG_MS);
    open();
    expect((await answer).status).toBe(201);
    await drained;
  });

  test('says so at /readyz, and asks to close with every answer', async () => {
    const { port, api } = await startPublicApi();
    const socket = connect(port, '127.0.0.1');
    socket.setEncoding('latin1').write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
    let text = '';
    socket.on('data', (chunk: string) => (text += chunk));
    const closed = once(socket, 'close');
    await waitFor(() => text.includes('"ok"'), { what: 'the first answer' });
    expect(text).toContain('Connection: keep-alive');
    text = '';
    const drained = drain(api, Date.now() + LONG_MS);
    socket.write('GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n');
    await Promise.all([drained, closed]);
    expect(text).toMatch(/^HTTP\/1\.1 503 /);
    expect(text).toContain('connection: close');
    expect(text).toContain('"reasons":["draining"]');
  });

  test('leaves an idle connection its announced time, and is over with it', async () => {
    const { port, api } = await startPublicApi({}, { keepAliveTimeoutMs: 200 });
    const agent = new Agent({ keepAlive: true });
    await ask(port, agent, 'idle');
    await drain(api, Date.now() + LONG_MS);
    expect(await connectionsOf(api.app.server)).toBe(0);
    agent.destroy();
  });

  test('ends before its deadline although a client neither sends nor goes', async () => {
    const { port, api } = await startPublicApi();
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined).write('POST /v1/coupons/open/claims HTTP/1.1\r\nHost: a\r\nContent-Le');
    await waitFor(async () => (await connectionsOf(api.app.server)) === 1, { what: 'the connection' });
    const deadline = Date.now() + 1_000;
    await drain(api, deadline);
    expect(Date.now()).toBeLessThan(deadline + 1_000);
    socket.destroy();
  });
});

interface Hammering {
  answered: number;
  /** The error that ended it. */
  readonly end: Promise<string>;
}

/** One client on one keep-alive connection, asking again as soon as it is answered, until a request fails. */
function hammer(port: number, user: string): Hammering {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const client: Hammering = { answered: 0, end: run() };
  return client;

  async function run(): Promise<string> {
    await delay(0);
    try {
      for (;;) {
        const status = await ask(port, agent, user);
        if (status !== 200 && status !== 201) return `status ${status}`;
        client.answered++;
      }
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error);
    } finally {
      agent.destroy();
    }
  }
}

function ask(port: number, agent: Agent, user: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port,
        agent,
        method: 'POST',
        path: '/v1/coupons/open/claims',
        headers: { 'X-User-Id': user },
      },
      (response) => {
        response.on('end', () => {
          resolve(response.statusCode ?? 0);
        });
        response.on('error', reject).resume();
      },
    );
    sent.on('error', reject).end();
  });
}

function connectionsOf(server: {
  getConnections(callback: (error: Error | null, count: number) => void): unknown;
}): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

describe('a rest', () => {
  test('answers who is there, accepts nobody, and takes up again where it was', async () => {
    const { port, api } = await startPublicApi();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    await ask(port, agent, 'before');
    const address = { host: '127.0.0.1', port, hostVariable: 'HOST', portVariable: 'PORT' };
    const resting = rest(api, address, LONG_MS);
    await expect(exchange(port, { path: '/healthz' })).rejects.toThrow('ECONNREFUSED');
    // The last answer on the open connection ends it, and with it the wait.
    await ask(port, agent, 'meanwhile');
    const resume = await resting;
    await resume();
    expect((await exchange(port, { path: '/readyz' })).status).toBe(200);
    await ask(port, agent, 'after');
    agent.destroy();
  });

  test('waits no longer for connections than it may', async () => {
    const { port, api, claims } = await startPublicApi();
    let open = (): void => undefined;
    claims.gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const answer = exchange(port, { method: 'POST', path: '/v1/coupons/open/claims', headers: [['X-User-Id', 'a']] });
    await waitFor(async () => (await connectionsOf(api.app.server)) === 1, { what: 'the claim to arrive' });
    const address = { host: '127.0.0.1', port, hostVariable: 'HOST', portVariable: 'PORT' };
    const resume = await rest(api, address, 1);
    await resume();
    open();
    expect((await answer).status).toBe(201);
    expect((await exchange(port, { path: '/healthz' })).status).toBe(200);
  });
});
