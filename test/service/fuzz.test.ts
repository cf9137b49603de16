// The whole service under bad requests: ten thousand made from its own OpenAPI descriptions, and bytes that are no requests.
// No answer is a fault or shows a stack, no process dies, and the diagnostics agents of both processes find nothing that leaks.
import fc from 'fast-check';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';
import { beforeAll, describe, expect, it } from 'vitest';
import type { LeakReport } from '../../diagnostics/model.js';
import { expectNoStack } from '../cluster/http/raw-http.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { createTestDatabase } from '../harness/database.js';
import { admin, createCoupon } from '../harness/operator.js';
import { startTestRedis } from '../harness/servers.js';
import type { TestService } from '../harness/service.js';
import { SERVICE_TEST_TIMEOUT_MS, startService } from '../harness/service.js';
import { badRequests } from './bad-requests.js';
import type { BadRequest, Description } from './bad-requests.js';

const SEED = 20_261_127;
const REQUESTS_OF_EACH_API = 5_000;
/** The shortest that the setting takes: a leak is called so after 2.4 of it. */
const LEAK_WINDOW_MS = 5_000;
/** So that a leak, did any request leave one, would grow for as long as the verdict needs. */
const FUZZ_MS_MIN = 3 * LEAK_WINDOW_MS;
const CONNECTIONS = 10;
const GARBAGE_RUNS = 300;
const EXCHANGE_TIMEOUT_MS = 20_000;

let service: TestService;
let pids: ReadonlyMap<string, number>;

beforeAll(async () => {
  service = await startService({
    REDIS_URL: (await startTestRedis()).url,
    MYSQL_URL: (await createTestDatabase()).url,
    ...{ WEB_CONCURRENCY: '1', LEAK_WINDOW_MS: String(LEAK_WINDOW_MS) },
    // A busy machine is slow, and this is not about that.
    ...{ CLAIM_TIMEOUT_MS: '30000', LOOP_DELAY_MAX_MS: '60000' },
  });
  await createCoupon(service, 'fuzz', 1_000_000);
  pids = await service.workers();
}, SERVICE_TEST_TIMEOUT_MS);

async function send(pool: Pool, { method, path, headers, body, what, documented }: BadRequest): Promise<number> {
  const { statusCode, body: answer } = await pool.request({
    ...{ method, path, headers },
    ...(body !== undefined && { body }),
  });
  const text = await answer.text();
  const said = `${what}: ${method} ${path.slice(0, 100)} ${JSON.stringify(headers)} ${body?.slice(0, 200) ?? ''}\n${text.slice(0, 500)}`;
  expect(statusCode, said).toBeLessThan(500);
  if (documented !== undefined) expect(documented, said).toContain(String(statusCode));
  expectNoStack(text);
  return statusCode;
}

async function fuzz(url: string, description: Description, identity: Record<string, string>): Promise<number[]> {
  const requests = fc.sample(badRequests(description, identity), { seed: SEED, numRuns: REQUESTS_OF_EACH_API });
  const pool = new Pool(url, { connections: CONNECTIONS, headersTimeout: EXCHANGE_TIMEOUT_MS });
  atEndOfFile(() => pool.destroy());
  const statuses: number[] = [];
  const startedAt = performance.now();
  for (let from = 0; from < requests.length; from += CONNECTIONS) {
    const some = requests.slice(from, from + CONNECTIONS);
    statuses.push(...(await Promise.all(some.map((request) => send(pool, request)))));
    const dueAt = startedAt + (FUZZ_MS_MIN * (from + CONNECTIONS)) / requests.length;
    await delay(Math.max(0, dueAt - performance.now()));
  }
  return statuses;
}

it(
  `${2 * REQUESTS_OF_EACH_API} bad requests`,
  async () => {
    const asAdmin = { authorization: `Bearer ${service.adminToken}` };
    const publicDescription = (await (await fetch(`${service.url}/openapi.json`)).json()) as Description;
    const adminDescription = (await admin(service, 'GET', '/openapi.json')) as Description;
    const [heard, heardByAdmin] = await Promise.all([
      fuzz(service.url, publicDescription, { 'x-user-id': 'fuzz' }),
      fuzz(service.adminUrl, adminDescription, asAdmin),
    ]);
    for (const statuses of [heard, heardByAdmin]) {
      expect(statuses).toHaveLength(REQUESTS_OF_EACH_API);
      // Bad in truth: most were refused, for many reasons. Some only hold what nobody looks at, such as a query.
      expect(statuses.filter((status) => status >= 400).length).toBeGreaterThan(0.6 * REQUESTS_OF_EACH_API);
      expect(new Set(statuses).size).toBeGreaterThan(6);
    }
    for (const name of ['http-1', 'admin-1']) {
      const report = (await admin(service, 'GET', `/debug/workers/${name}/leaks?format=json`)) as LeakReport;
      expect([name, report.verdict, report.sites]).toEqual([name, 'clean', []]);
    }
  },
  SERVICE_TEST_TIMEOUT_MS,
);

describe('bytes that are nearly a request', () => {
  const GOOD =
    'POST /v1/coupons/fuzz/claims HTTP/1.1\r\nHost: localhost\r\nX-User-Id: ann\r\nContent-Length: 2\r\n\r\n{}';
  const damage = fc.array(fc.tuple(fc.nat(GOOD.length), fc.nat(3), fc.uint8Array({ maxLength: 3 })), {
    minLength: 1,
    maxLength: 5,
  });
  const damaged = damage.map((places) => {
    let bytes = Buffer.from(GOOD.replace('Host:', 'Connection: close\r\nHost:'));
    for (const [at, cut, put] of places) bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)]);
    // The end of the headers and of any body, so that the server need not wait for more.
    return Buffer.concat([bytes, Buffer.from('\r\n\r\n')]);
  });

  it.each(['public', 'admin'])(
    'the %s port answers or hangs up',
    async (which) => {
      const { port } = new URL(which === 'public' ? service.url : service.adminUrl);
      for (const bytes of fc.sample(damaged, { seed: SEED, numRuns: GARBAGE_RUNS })) {
        const text = await exchangeAndHangUp(Number(port), bytes);
        for (const [, status] of text.matchAll(/HTTP\/1\.1 (\d+)/g)) expect(Number(status)).toBeLessThan(500);
        expectNoStack(text);
      }
    },
    SERVICE_TEST_TIMEOUT_MS,
  );
});

it('nobody died, and nobody complained', async () => {
  expect(await service.workers()).toEqual(pids);
  const troubles = service
    .output()
    .split('\n')
    .filter((line) => /"level":(40|50|60)/.test(line));
  expect(troubles).toEqual([]);
});

/** What comes back until the server closes, or after our own end when it waits for more of a body. */
function exchangeAndHangUp(port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    socket.on('error', () => undefined).on('close', () => resolve(text));
    socket.end(bytes);
  });
}
