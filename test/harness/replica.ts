// Makes one test Redis follow another, and a master of it again.
import { createLog } from '../../platform/log.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import type { TestServer } from './servers.js';
import { waitFor } from './wait-for.js';

const LIMIT_MS = 10_000;

/** `replica` drops what it has and follows `master`; resolves when it is in step. */
export async function follow(replica: TestServer, master: TestServer): Promise<void> {
  await withRedis(replica, async (redis) => {
    const { hostname, port, password } = new URL(master.url);
    await redis.config('SET', 'masterauth', decodeURIComponent(password));
    await redis.replicaof(hostname, Number(port));
    await waitFor(async () => (await redis.info('replication')).includes('master_link_status:up'), {
      what: 'the replica to be in step',
    });
  });
}

/** From now on it goes its own way, with what it has. */
export async function promote(replica: TestServer): Promise<void> {
  await withRedis(replica, (redis) => redis.replicaof('NO', 'ONE'));
}

async function withRedis(server: TestServer, use: (redis: Redis) => Promise<unknown>): Promise<void> {
  const redis = connectRedis(server.url, { kind: 'request', commandTimeoutMs: LIMIT_MS }, createLog('test', 'silent'));
  try {
    await whenRedisReady(redis, LIMIT_MS);
    await use(redis);
  } finally {
    redis.disconnect();
  }
}
