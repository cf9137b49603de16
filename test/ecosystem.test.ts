// ecosystem.config.js as it stands, under the real pm2: every command that docs/deploy.md names, and a crash.
import { beforeAll, expect, it } from 'vitest';
import { findFreePort } from '../platform/embedded/free-port.js';
import { atEndOfFile } from './harness/cleanup.js';
import { Crowd, users } from './harness/crowd.js';
import { createTestDatabase } from './harness/database.js';
import { processesBelow } from './harness/left-behind.js';
import type { TestPm2 } from './harness/pm2.js';
import { startPm2 } from './harness/pm2.js';
import { startTestRedis } from './harness/servers.js';
import { SERVICE_TEST_TIMEOUT_MS } from './harness/service.js';
import { waitFor } from './harness/wait-for.js';

const ADMIN_TOKEN = 'admin-token-of-the-pm2-test';
/** Enough to hit every moment of a reload, few enough to leave the machine to it. */
const CONNECTIONS = 10;
const BACK_LIMIT_MS = 60_000;

let pm2: TestPm2;
let environment: Record<string, string>;
let url: string;
let adminUrl: string;

beforeAll(async () => {
  const [port, adminPort] = [await findFreePort(), await findFreePort()];
  [url, adminUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${adminPort}`];
  environment = {
    ...{ PORT: String(port), ADMIN_PORT: String(adminPort), ADMIN_TOKEN, WEB_CONCURRENCY: '1' },
    ...{ REDIS_URL: (await startTestRedis()).url, MYSQL_URL: (await createTestDatabase()).url },
  };
  pm2 = await startPm2();
}, SERVICE_TEST_TIMEOUT_MS);

/** Answers at once, with or without success. */
async function admin(path: string, body?: object): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${adminUrl}${path}`, {
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, 'content-type': 'application/json' },
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
  });
  return { status: response.status, body: await response.json() };
}

async function pids(): Promise<{ primary: number | undefined; workers: number[] }> {
  const { body } = await admin('/v1/processes');
  const { processes } = body as { processes: { role: string; pid: number }[] };
  const pidsOf = (isWorker: boolean) =>
    processes.filter(({ role }) => (role !== 'primary') === isWorker).map(({ pid }) => pid);
  return { primary: pidsOf(false)[0], workers: pidsOf(true) };
}

async function isReady(): Promise<boolean> {
  const [ofPublic, ofAdmin] = await Promise.all([fetch(`${url}/readyz`), admin('/readyz')]);
  await ofPublic.body?.cancel();
  return ofPublic.status === 200 && ofAdmin.status === 200;
}

it(
  'start waits until the service is ready, and reload replaces every worker without one failed request',
  async () => {
    await pm2.command(['start', 'ecosystem.config.js', '--env', 'production'], environment);
    expect(await isReady()).toBe(true);

    expect((await admin('/v1/coupons', { couponId: 'reload', total: 1_000_000 })).status).toBe(201);
    const crowd = new Crowd(url, 'reload', CONNECTIONS);
    atEndOfFile(() => crowd.close());
    const before = await pids();
    let reloaded = false;
    const load = Promise.all(
      users(CONNECTIONS).map(async (user) => {
        for (let i = 0; !reloaded; i++) await crowd.ask(`${user}-${i}`);
      }),
    );
    await waitFor(() => crowd.winners().length > 200, { what: 'the load to begin' });
    const told = await pm2.command(['trigger', 'stampede', 'reload']).finally(() => {
      reloaded = true;
    });
    await load;
    expect(told).toContain('reload done: every worker has been replaced');
    const after = await pids();
    expect(after.primary).toBe(before.primary);
    expect(after.workers.filter((pid) => before.workers.includes(pid))).toEqual([]);
    expect(crowd.unanswered).toEqual([]);
    expect([...crowd.heard.keys()]).toEqual(['201 claimed']);
  },
  SERVICE_TEST_TIMEOUT_MS,
);

it(
  'a primary that crashes is started again, and comes back though its workers had to be left to themselves',
  async () => {
    const { primary } = await pids();
    if (primary === undefined) throw new Error('no primary');
    process.kill(primary, 'SIGKILL');
    await waitFor(async () => (await isReady()) && (await pids()).primary !== primary, {
      what: 'the service to be back',
      timeoutMs: BACK_LIMIT_MS,
    });
    // The service answers a moment before pm2 has heard that it is ready.
    await waitFor(async () => (await pm2.service())?.status === 'online', { what: 'pm2 to hear of it' });
    expect(await pm2.service()).toMatchObject({ restarts: 1 });
  },
  SERVICE_TEST_TIMEOUT_MS,
);

it(
  'restart drains first',
  async () => {
    const { primary } = await pids();
    await pm2.command(['restart', 'stampede']);
    expect(await isReady()).toBe(true);
    expect((await pids()).primary).not.toBe(primary);
    expect(await pm2.log()).toContain('exited with code [0] via signal [SIGINT]');
  },
  SERVICE_TEST_TIMEOUT_MS,
);

it(
  'resurrect brings back what was saved, and stop leaves nothing running',
  async () => {
    await pm2.command(['save']);
    await pm2.command(['kill']);
    await waitFor(async () => (await processesBelow(pm2.folder)).length === 0, { what: 'pm2 and the service to end' });

    await pm2.command(['resurrect']);
    await waitFor(isReady, { what: 'the service to be back', timeoutMs: BACK_LIMIT_MS });
    const running = (await processesBelow(pm2.folder)).length;
    await pm2.command(['stop', 'stampede']);
    expect((await pm2.service())?.status).toBe('stopped');
    // pm2 itself goes on.
    expect(await processesBelow(pm2.folder)).toHaveLength(1);
    expect(running).toBeGreaterThan(3);
  },
  SERVICE_TEST_TIMEOUT_MS,
);

it(
  'a wrong setting is told once, not tried again and again',
  async () => {
    await pm2.command(['delete', 'stampede']);
    await pm2.command(['start', 'ecosystem.config.js'], { ...environment, SHARD_COUNT: 'many' });
    expect(await pm2.log()).toContain('exited with code [78]');
    // pm2 calls it "waiting restart", but one that it will not start again has no pid.
    expect(await pm2.service()).toMatchObject({ pid: 0, restarts: 0 });
  },
  SERVICE_TEST_TIMEOUT_MS,
);
