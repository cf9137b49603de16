// Request connections: what was in flight when a connection broke is unknown, and stays unsent.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createLog } from '../../platform/log.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import type { TestServer } from '../harness/servers.js';
import { startTestRedis } from '../harness/servers.js';
import { waitFor } from '../harness/wait-for.js';

let server: TestServer;
let redis: Redis;

beforeEach(async () => {
  server = await startTestRedis();
  redis = connectRedis(server.url, { kind: 'request', commandTimeoutMs: 1_000 }, createLog('test', 'silent'));
  await whenRedisReady(redis, 10_000);
});
afterEach(() => redis.disconnect());

it('rejects at once what was in flight when Redis died, and never sends it again', async () => {
  process.kill(server.pid, 'SIGSTOP');
  const outcome = redis.incr('count').then(
    () => 'answered',
    () => 'rejected',
  );
  await server.kill();
  expect(await outcome).toBe('rejected');
  await server.restart();
  await whenRedisReady(redis, 10_000);
  expect(await redis.get('count')).toBeNull();
});

it('rejects while there is no connection, instead of keeping it for later', async () => {
  await server.stop();
  await waitFor(() => redis.status !== 'ready', { what: 'the connection to break' });
  await expect(redis.incr('count')).rejects.toThrow("Stream isn't writeable");
});

it('gives a call up after its time limit, and leaves the connection for a new one', async () => {
  process.kill(server.pid, 'SIGSTOP');
  await expect(redis.incr('count')).rejects.toThrow('Command timed out');
  await waitFor(() => redis.status !== 'ready', { what: 'the connection to be left' });
  process.kill(server.pid, 'SIGCONT');
  await whenRedisReady(redis, 10_000);
  expect(await redis.ping()).toBe('PONG');
});
