// The usual design as a whole: a Redis and a MariaDB of its own, of the kind and with the settings of the service's embedded ones,
// its server and its queue worker. Knows when all jobs are rows, and checks the books in the end.
import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { Pool, RowDataPacket } from '../../platform/mysql.js';
import { createMysqlPool } from '../../platform/mysql.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import { Child } from '../child.js';
import { redisCpuMicros } from '../cpu.js';
import type { Measured } from '../measured-load.js';
import type { PartContext } from '../part.js';
import { startPrivateMariadb, startPrivateRedis } from '../private-servers.js';
import type { Stoppable } from '../started.js';
import { startPeer } from './start-peer.js';
import { QUEUE, stockKey, TABLE } from './usual-design.js';
import type { WorkerOptions } from './usual-worker.js';

const COMMAND_TIMEOUT_MS = 10_000;
const WORKER_START_TIMEOUT_MS = 30_000;
const WRITTEN_TIMEOUT_MS = 300_000;
const POLL_MS = 25;

export interface UsualSystem extends Measured {
  /** The same system behind a second server that has ioredis' auto-pipelining on. */
  readonly pipelined: Measured;
  createCoupon(couponId: string, stock: number): Promise<void>;
  /** Sentences about what is wrong: rows that are not what was granted, a user twice, a job that failed. */
  check(couponId: string, granted: number): Promise<string[]>;
}

/** `keep` is told of everything that is started, for its end. */
export async function startUsualSystem(
  context: PartContext,
  keep: <S extends Stoppable>(one: S) => S,
): Promise<UsualSystem> {
  const { log, signal, workers, execArgv } = context;
  const redisServer = keep(await startPrivateRedis({}, context));
  const mariadb = keep(await startPrivateMariadb(context));
  const { url: redisUrl } = redisServer;
  const redis = connectRedis(redisUrl, { kind: 'request', commandTimeoutMs: COMMAND_TIMEOUT_MS }, log);
  keep({
    stop: () => {
      redis.disconnect();
      return Promise.resolve();
    },
  });
  await whenRedisReady(redis, COMMAND_TIMEOUT_MS);
  const mysql = createMysqlPool(mariadb.url, 1);
  keep({ stop: () => mysql.end() });
  await mysql.query(TABLE);
  const queue = new Queue(QUEUE, { connection: redis });

  const options: WorkerOptions = { redisUrl, mysqlUrl: mariadb.url };
  const worker = keep(new Child({ script: 'peers/usual-worker', args: [JSON.stringify(options)], execArgv, signal }));
  await worker.answer(WORKER_START_TIMEOUT_MS);
  const server = keep(await startPeer('usual-server', { workers, redisUrl }, context));
  const pipelined = keep(await startPeer('usual-server', { workers, redisUrl, autoPipelining: true }, context));

  const behind = {
    redisCpuMicros: () => redisCpuMicros(redis),
    whenWritten: () => whenNoJobIsLeft(queue, signal),
  };
  const pidsBehind = { redis: [redisServer.pid], ledger: [worker.pid], mariadb: [mariadb.pid] };
  return {
    ...behind,
    url: server.url,
    pids: { ...server.pids, ...pidsBehind },
    pipelined: { ...behind, url: pipelined.url, pids: { ...pipelined.pids, ...pidsBehind } },
    createCoupon: async (couponId, stock) => {
      await redis.set(stockKey(couponId), stock);
    },
    check: (couponId, granted) => checkBooks(redis, mysql, couponId, granted),
  };
}

/** Rejects when a job has failed, or when that takes too long. */
async function whenNoJobIsLeft(queue: Queue, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + WRITTEN_TIMEOUT_MS;
  for (;;) {
    const { failed = 0, ...left } = await queue.getJobCounts('wait', 'active', 'delayed', 'failed');
    if (failed > 0) throw new Error(`${failed} jobs of the usual design failed`);
    if (Object.values(left).every((count) => count === 0)) return;
    if (Date.now() > deadline) throw new Error(`the usual design was not done within ${WRITTEN_TIMEOUT_MS} ms`);
    await delay(POLL_MS, undefined, { signal });
  }
}

async function checkBooks(redis: Redis, mysql: Pool, couponId: string, granted: number): Promise<string[]> {
  const stock = Number(await redis.get(stockKey(couponId)));
  const [rows] = await mysql.query<RowDataPacket[]>(
    'SELECT COUNT(*) AS claims, COUNT(DISTINCT user_id) AS users FROM usual_claim_log WHERE coupon_id = ?',
    [couponId],
  );
  const [claims, users] = [Number(rows[0]?.['claims']), Number(rows[0]?.['users'])];
  return [
    ...(claims === granted ? [] : [`usual design: ${granted} claims of ${couponId} were granted, ${claims} are rows`]),
    ...(users === claims ? [] : [`usual design: ${claims} rows of ${couponId} name ${users} users`]),
    ...(stock >= 0 ? [] : [`usual design: ${-stock} claims too many were granted of ${couponId}`]),
  ];
}
