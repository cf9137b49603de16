// The load generator, a process of its own so that its CPU time is nobody else's: keep-alive connections to one server on
// loopback, opened before the clock runs. Does one job after another, each bounded in requests and time; ends when the
// benchmark does.
import { once } from 'node:events';
import { Client } from 'undici';
import type { FromLoad, LoadJob, LoadResult, ToLoad } from './load-job.js';
import { percentileOf } from './statistics.js';

/** Well beyond the time in which the service answers every claim. */
const REQUEST_TIMEOUT_MS = 40_000;
/** After this no further request is sent. */
const JOB_TIMEOUT_MS = 120_000;

process.on('disconnect', () => process.exit());

for (;;) {
  const job = await receive('connect');
  const clients = await connect(job);
  send({ kind: 'connected' });
  await receive('go');
  const result = await run(job, clients);
  await Promise.all(clients.map((client) => client.close()));
  send({ kind: 'done', ...result });
}

async function receive<K extends ToLoad['kind']>(kind: K): Promise<Extract<ToLoad, { kind: K }>> {
  const [message] = (await once(process, 'message')) as [ToLoad];
  if (message.kind !== kind) throw new Error(`expected ${kind}, got ${message.kind}`);
  return message as Extract<ToLoad, { kind: K }>;
}

function send(message: FromLoad): void {
  process.send?.(message);
}

/** One request on each connection opens it. */
async function connect({ url, connections, requests }: LoadJob): Promise<Client[]> {
  const options = { pipelining: 1, headersTimeout: REQUEST_TIMEOUT_MS, bodyTimeout: REQUEST_TIMEOUT_MS };
  const clients = Array.from({ length: Math.min(connections, requests) }, () => new Client(url, options));
  await Promise.all(
    clients.map(async (client) => {
      const { body } = await client.request({ method: 'GET', path: '/healthz' });
      await body.dump();
    }),
  );
  return clients;
}

async function run({ couponId, userPrefix, requests }: LoadJob, clients: readonly Client[]): Promise<LoadResult> {
  const path = `/v1/coupons/${couponId}/claims`;
  const latencies = new Float64Array(requests);
  const answers: Record<string, number> = {};
  const startedAt = performance.now();
  let sent = 0;
  let answered = 0;

  const askOneByOne = async (client: Client): Promise<void> => {
    while (sent < requests && performance.now() - startedAt < JOB_TIMEOUT_MS) {
      const userId = `${userPrefix}${sent++}`;
      const askedAt = performance.now();
      const answer = await ask(client, path, userId);
      if (answer === undefined) continue;
      answers[answer] = (answers[answer] ?? 0) + 1;
      latencies[answered++] = performance.now() - askedAt;
    }
  };
  await Promise.all(clients.map(askOneByOne));

  const sorted = latencies.subarray(0, answered).sort();
  return {
    answers,
    unanswered: requests - answered,
    durationMs: performance.now() - startedAt,
    latencyMs: {
      p50: answered === 0 ? 0 : percentileOf(sorted, 0.5),
      p99: answered === 0 ? 0 : percentileOf(sorted, 0.99),
    },
  };
}

/**
 * `201 claimed`, `409 sold_out`, … or undefined when there was no answer. undici's lowest layer: `request` costs twice the
 * CPU, which on a small machine is taken from what is measured.
 */
function ask(client: Client, path: string, userId: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let status = 0;
    let body = '';
    client.dispatch(
      { method: 'POST', path, headers: { 'x-user-id': userId } },
      {
        // By this undici tells its handlers of today from those of old.
        onRequestStart: () => undefined,
        onResponseStart: (_controller, statusCode) => {
          status = statusCode;
        },
        onResponseData: (_controller, chunk) => {
          body += chunk.toString('latin1');
        },
        onResponseEnd: () => resolve(`${status} ${/"(?:code|status)":"(\w+)"/.exec(body)?.[1] ?? 'unreadable'}`),
        onResponseError: () => resolve(undefined),
      },
    );
  });
}
