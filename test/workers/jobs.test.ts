// Jobs outlive what Redis forgets: with the real BullMQ on a real Redis that is restarted, emptied and flushed.
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createLog } from '../../platform/log.js';
import { Metrics } from '../../platform/metrics/metrics.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import type { Job } from '../../workers/jobs/jobs.js';
import { Jobs } from '../../workers/jobs/jobs.js';
import type { TestServer } from '../harness/servers.js';
import { startTestRedis } from '../harness/servers.js';
import { waitFor } from '../harness/wait-for.js';

const log = createLog('test', process.env['TEST_LOG_LEVEL'] ?? 'silent');

let server: TestServer;
let redis: Redis;
let jobs: Jobs;
let runs: number;
const received: unknown[] = [];

const table: Job[] = [
  {
    name: 'tick',
    everyMs: 200,
    run: () => {
      runs++;
      return Promise.resolve();
    },
  },
  { name: 'slow', attempts: 1, backoffMs: 50, run: () => delay(100) },
  {
    name: 'deliver',
    attempts: 5,
    backoffMs: 50,
    run: (data) => {
      received.push(data);
      return received.length < 3 ? Promise.reject(new Error('not yet')) : Promise.resolve();
    },
  },
];

beforeEach(async () => {
  await begin({});
});
async function begin(options: Parameters<typeof startTestRedis>[0]): Promise<void> {
  server = await startTestRedis(options);
  redis = connectRedis(server.url, { kind: 'request', commandTimeoutMs: 5_000 }, log);
  await whenRedisReady(redis, 10_000);
  runs = 0;
  received.length = 0;
  const metrics = new Metrics({ name: 'ledger-1', role: 'ledger', log });
  jobs = new Jobs({ redisUrl: server.url, jobs: table, log, metrics, overdueMs: 1_000 });
  jobs.start();
  await running();
}
afterEach(end);
async function end(): Promise<void> {
  await jobs.stop();
  redis.disconnect();
}

/** Three more runs: one alone may have been on its way. */
async function running(): Promise<void> {
  const until = runs + 3;
  await waitFor(() => runs >= until, { what: 'three more runs' });
}

it('run again after Redis was restarted with its data', async () => {
  await server.restart();
  await running();
});

it('run again after Redis was killed and came back empty', async () => {
  await end();
  await begin({ persistence: false });
  await server.kill();
  await server.restart();
  await running();
});

it('run again after FLUSHALL, with every connection still standing', async () => {
  await redis.flushall();
  await running();
});

it.each(['delayed', 'repeat', 'wait', 'marker', 'meta'])('run again after the key %s was lost', async (key) => {
  await redis.del(`{stampede}:jobs:${key}`);
  await running();
});

it('run again after every connection was cut', async () => {
  await redis.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await running();
});

it('run again after Redis was stopped for longer than anybody waits', async () => {
  process.kill(server.pid, 'SIGSTOP');
  await expect(redis.ping()).rejects.toThrow('Command timed out');
  process.kill(server.pid, 'SIGCONT');
  await running();
});

it('run on schedule before a backlog of requested ones', async () => {
  for (let n = 0; n < 500; n++) await jobs.add('slow', `slow.${n}`, {});
  await running();
  expect(await redis.zcard('{stampede}:jobs:prioritized')).toBeGreaterThan(0);
});

it('are done once for one id, and tried again with backoff until they succeed', async () => {
  await jobs.add('deliver', 'event.1', { n: 1 });
  await jobs.add('deliver', 'event.1', { n: 2 });
  await waitFor(() => received.length === 3, { what: 'the third attempt' });
  expect(received).toEqual([{ n: 1 }, { n: 1 }, { n: 1 }]);
  await waitFor(async () => (await redis.exists('{stampede}:jobs:event.1')) === 0, { what: 'the job to be removed' });
});
