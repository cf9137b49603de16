// The open-loop generator against servers that are slow, and against a generator that is: what it says must be what users met.
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { Child } from '../../bench/child.js';
import { lagComplaint } from '../../bench/latency.js';
import type { OpenLoopOffer, OpenLoopOutcome } from '../../bench/open-loop-job.js';
import { waitFor } from '../harness/wait-for.js';

const LIMIT_MS = 60_000;
const PAUSE_MS = 300;

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/** The address of a server for claims that answers with `claims`, and `/healthz` by itself. */
async function serve(claims: RequestListener): Promise<string> {
  const server = createServer((request, response) => {
    if (request.url === '/healthz') response.end();
    else claims(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function startGenerator(): Child {
  const child = new Child({ script: 'open-loop', signal: new AbortController().signal });
  stops.push(() => child.stop());
  return child;
}

const OFFER = { couponId: 'sale', userPrefix: 'user-', perSecond: 100, warmUpMs: 100, countedMs: 500 };

async function offer(
  child: Child,
  more: Pick<OpenLoopOffer, 'url' | 'connections'> & { countedMs?: number },
): Promise<OpenLoopOutcome> {
  return (await child.answer(LIMIT_MS, { ...OFFER, ...more })) as OpenLoopOutcome;
}

it('counts the time in which requests could not be sent, since nobody was answered', async () => {
  let heldUntil = 0;
  const asked: string[] = [];
  const url = await serve((request, response) => {
    asked.push(request.url ?? '');
    // One answer is late, and with one connection nobody else can ask meanwhile.
    heldUntil ||= performance.now() + PAUSE_MS;
    const answer = (): unknown => response.writeHead(201).end('{"status":"claimed"}');
    setTimeout(answer, Math.max(0, heldUntil - performance.now()));
  });
  const outcome = await offer(startGenerator(), { url, connections: 1 });
  expect(outcome).toMatchObject({ due: 50, answers: { '201 claimed': 50 }, unanswered: 0 });
  expect(asked).toHaveLength(60);
  expect(new Set(asked)).toEqual(new Set(['/v1/coupons/sale/claims']));
  // 60 requests were due, one of them was slow. A generator that counts from the sending would tell of that one alone:
  // those that were due meanwhile waited on, one after another, from nearly the whole pause to none of it.
  expect(outcome.acceptedMs.p90).toBeGreaterThan(PAUSE_MS / 3);
});

it('tells refusals and broken connections from accepted claims, and leaves out no request', async () => {
  let count = 0;
  const url = await serve((_request, response) => {
    if (count++ % 2 === 0) response.destroy();
    else response.writeHead(503).end('{"code":"overloaded"}');
  });
  const { due, answers, unanswered, acceptedMs } = await offer(startGenerator(), { url, connections: 10 });
  expect(due).toBe(50);
  expect((answers['503 overloaded'] ?? 0) + unanswered).toBe(due);
  expect(unanswered).toBeGreaterThan(0);
  expect(acceptedMs.p99).toBe(0);
});

it('says how late it was itself', async () => {
  let claims = 0;
  const url = await serve((_request, response) => {
    claims++;
    response.writeHead(201).end('{"status":"claimed"}');
  });
  const child = startGenerator();
  const outcome = offer(child, { url, connections: 10, countedMs: 2_000 });
  await waitFor(() => claims > 20, { what: 'the counted time to begin' });
  process.kill(child.pid, 'SIGSTOP');
  const goOnAt = performance.now() + PAUSE_MS;
  await waitFor(() => performance.now() > goOnAt, { what: 'requests to be due' });
  process.kill(child.pid, 'SIGCONT');
  const { lagMs, acceptedMs } = await outcome;
  expect(lagMs.p99).toBeGreaterThan(PAUSE_MS / 2);
  expect(acceptedMs.p99).toBeGreaterThanOrEqual(lagMs.p99);

  const latency = { due: 1, answers: {}, unanswered: 0, acceptedMs, lagMs };
  expect(lagComplaint(0.5, [{ shares: [{ share: 0.5, outcome: latency }] }])).toHaveLength(1);
  const quick = { ...lagMs, p99: 1 };
  expect(lagComplaint(0.5, [{ shares: [{ share: 0.5, outcome: { ...latency, lagMs: quick } }] }])).toEqual([]);
});
