import { describe, expect, it } from 'vitest';
import { identify } from '../../platform/process-identity.js';
import { packagePath } from '../../platform/package-root.js';
import { createTestDatabase } from './database.js';
import { processesBelow } from './left-behind.js';
import { makeScratchFolder } from './scratch.js';
import { startTestRedis } from './servers.js';
import { SERVICE_TEST_TIMEOUT_MS, startService } from './service.js';
import { stillOpen } from './still-open.js';
import { waitFor } from './wait-for.js';

describe('startService', { timeout: SERVICE_TEST_TIMEOUT_MS }, () => {
  it('runs the service on given databases, names its workers and stops it in order', async () => {
    const [redis, database] = await Promise.all([startTestRedis(), createTestDatabase()]);
    const preloads = [
      packagePath('dist', 'diagnostics', 'why-running.js'),
      packagePath('test', 'harness', 'planted-handle.mjs'),
    ];
    const service = await startService({
      REDIS_URL: redis.url,
      MYSQL_URL: database.url,
      WEB_CONCURRENCY: '2',
      WHY_RUNNING: 'ledger-1',
      NODE_OPTIONS: preloads.map((file) => `--import ${file}`).join(' '),
    });
    const workers = await service.workers();
    expect([...workers.keys()].sort()).toEqual(['admin-1', 'http-1', 'http-2', 'ledger-1']);
    expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
    const { status } = await fetch(`${service.adminUrl}/v1/coupons`, {
      headers: { authorization: `Bearer ${service.adminToken}` },
    });
    expect(status).toBe(200);
    // What a stop that takes too long would say.
    const open = await stillOpen(service.dir);
    expect(open).toMatch(new RegExp(`http-1 still holds [^]*TCP bound 127.0.0.1:${new URL(service.url).port}`));
    expect(open).toMatch(/ledger-1 still holds [^]*2 Worker made at WriterPool \(.*writer-pool\.ts:\d+\)/);
    // And what its switch for development says of the one process that it is for.
    process.kill(workers.get('ledger-1') ?? 0, 'SIGUSR2');
    await waitFor(() => /keeping the process running[^]*planted-handle\.mjs:5/.test(service.output()), {
      what: 'the planted handle to be named',
    });

    expect(await service.stop()).toEqual({ code: 0, signal: null });
    expect([service.pid, ...workers.values()].map(identify)).toEqual(Array(5).fill(undefined));
    expect(await processesBelow(service.dir)).toEqual([]);
  });

  it('tells what the service printed when it does not start', async () => {
    await expect(startService({ REDIS_URL: 'nonsense' })).rejects.toThrow(
      /ended during its start[^]*REDIS_URL must be/,
    );
  });
});

describe('the service with its embedded servers', { timeout: SERVICE_TEST_TIMEOUT_MS }, () => {
  it('is refused a second time on the same folder, and starts again after kill -9 with its data', async () => {
    const env = { STAMPEDE_DIR: await makeScratchFolder('folder'), WEB_CONCURRENCY: '1' };
    const first = await startService(env);
    await createCoupon(first);
    await expect(startService(env)).rejects.toThrow(`is in use by process ${first.pid}`);

    const workers = [...(await first.workers()).values()];
    expect(await first.stop('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
    await waitFor(() => workers.every((pid) => identify(pid) === undefined), {
      what: 'workers without primary to end',
    });
    const orphans = await processesBelow(env.STAMPEDE_DIR);
    expect(orphans).toHaveLength(2);

    const second = await startService(env);
    expect(orphans.map(identify)).toEqual([undefined, undefined]);
    expect(await createCoupon(second)).toBe(200);
    expect(await second.stop('SIGINT')).toEqual({ code: 0, signal: null });
    expect(await processesBelow(env.STAMPEDE_DIR)).toEqual([]);
  });
});

/** 201 the first time, 200 when the same coupon is there already. */
async function createCoupon(service: { adminUrl: string; adminToken: string }): Promise<number> {
  const answer = await fetch(`${service.adminUrl}/v1/coupons`, {
    method: 'POST',
    headers: { authorization: `Bearer ${service.adminToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ couponId: 'kept', total: 10 }),
  });
  return answer.status;
}
