// No secret of the configuration leaves the service by any door: not by its log, its errors, its metrics or its diagnostics.
// (A heap snapshot is the memory itself, and is for those who have the admin token.)
import { beforeAll, expect, it } from 'vitest';
import { createTestDatabase } from '../harness/database.js';
import { createCoupon } from '../harness/operator.js';
import { startTestRedis } from '../harness/servers.js';
import type { TestService } from '../harness/service.js';
import { SERVICE_TEST_TIMEOUT_MS, startService } from '../harness/service.js';

const ADMIN_TOKEN = 'admin-secret-4711-admin';
const GATEWAY_TOKEN = 'gateway-secret-4711-gateway';
const GUESS = 'guessed-secret-4711-guess';
const LIMIT_MS = 30_000;
let service: TestService;
let secrets: string[];

beforeAll(async () => {
  const [redisUrl, mysqlUrl] = [(await startTestRedis()).url, (await createTestDatabase()).url];
  secrets = [ADMIN_TOKEN, GATEWAY_TOKEN, GUESS];
  for (const url of [redisUrl, mysqlUrl]) {
    const { password } = new URL(url);
    if (password !== '') secrets.push(decodeURIComponent(password));
  }
  service = await startService({
    ...{ REDIS_URL: redisUrl, MYSQL_URL: mysqlUrl, ADMIN_TOKEN, GATEWAY_TOKEN },
    ...{ WEB_CONCURRENCY: '1', LOG_LEVEL: 'trace' },
  });
}, SERVICE_TEST_TIMEOUT_MS);

async function read(url: string, headers: Record<string, string>, method = 'GET'): Promise<string> {
  const response = await fetch(url, { method, headers, signal: AbortSignal.timeout(LIMIT_MS) });
  return JSON.stringify([...response.headers]) + (await response.text());
}

it(
  'neither in answers nor in the log',
  async () => {
    const asAdmin = { authorization: `Bearer ${ADMIN_TOKEN}` };
    await createCoupon(service, 'secret', 10);
    const claims = `${service.url}/v1/coupons/secret/claims`;
    const pages = [
      '',
      '/handles',
      '/async',
      '/async?debug=2',
      '/timers',
      '/promises',
      '/leaks',
      '/stack',
      '/eventloop',
      '/gc',
    ];
    const admin = [
      ...['/v1/coupons', '/v1/coupons/secret', '/v1/audit', '/v1/processes', '/metrics', '/readyz', '/openapi.json'],
      ...['/docs/json', '/docs/public.json', '/docs/static/swagger-initializer.js', '/debug', '/debug/workers'],
      ...['http-1', 'ledger-1', 'admin-1', 'primary'].flatMap((name) =>
        pages.map((page) => `/debug/workers/${name}${page}`),
      ),
      ...['http-1', 'admin-1'].flatMap((name) =>
        [`profile?seconds=1`, 'heap'].map((page) => `/debug/workers/${name}/${page}`),
      ),
    ];
    const answers = await Promise.all([
      read(claims, { 'x-user-id': 'ann', 'x-gateway-token': GATEWAY_TOKEN }, 'POST'),
      read(claims, { 'x-user-id': 'ann', 'x-gateway-token': GUESS }, 'POST'),
      read(`${claims}?token=${GUESS}`, { authorization: `Bearer ${GUESS}` }, 'POST'),
      read(`${service.url}/openapi.json`, {}),
      read(`${service.adminUrl}/v1/coupons`, { authorization: `Bearer ${GUESS}` }),
      read(`${service.adminUrl}/v1/coupons/${GUESS.slice(0, 5)}%ff`, asAdmin),
      ...admin.map((path) => read(`${service.adminUrl}${path}`, asAdmin)),
    ]);
    expect(answers[0]).toContain('"status":"claimed"');
    expect(answers.at(-1)?.length).toBeGreaterThan(100);
    await service.stop();
    const said = [...answers, service.output()].join('\n');
    expect(service.output().length).toBeGreaterThan(1_000);
    // Not the found place: the report of a failure must not say it either.
    expect(secrets.filter((secret) => said.includes(secret)).length).toBe(0);
  },
  SERVICE_TEST_TIMEOUT_MS,
);
