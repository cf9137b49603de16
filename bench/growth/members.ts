// Users who have claimed before anything is measured, by the million. Their rows are written into MySQL directly, and the
// service's own rebuild brings them to Redis: the state that it would have after a restart of Redis. Claiming them would
// take a quarter of an hour, and Redis would hold the same.
import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { Pool, ResultSetHeader, RowDataPacket } from '../../platform/mysql.js';
import { createMysqlPool } from '../../platform/mysql.js';
import { connectRedis } from '../../platform/redis.js';
import type { Log } from '../../platform/log.js';
import { JOB_QUEUE } from '../../workers/jobs/jobs.js';
import type { Service } from '../service.js';

/** Rows of one transaction. */
const ROWS = 500_000;
const ROWS_TIMEOUT_MS = 120_000;
const REBUILT_TIMEOUT_MS = 600_000;
const POLL_MS = 100;

/** The coupons must be new. Resolves when each has `users` claims, by the rows, and by Redis. */
export async function addMembers(
  service: Service,
  couponIds: readonly string[],
  users: number,
  signal: AbortSignal,
): Promise<void> {
  const mysql = createMysqlPool(service.databaseUrls.MYSQL_URL, 1, ROWS_TIMEOUT_MS);
  try {
    const before = await shardsOf(mysql, couponIds);
    for (const couponId of couponIds) {
      for (let first = 1; first <= users; first += ROWS) {
        signal.throwIfAborted();
        await insertRows(mysql, couponId, first, Math.min(users, first + ROWS - 1));
      }
    }
    for (const shard of before.keys()) await service.admin('POST', `/v1/shards/${shard}/rebuild`);
    await whenRebuilt(service, before, signal);
  } finally {
    await mysql.end();
  }
}

/** Nothing scheduled runs any more: an audit each minute would be counted to whichever claims are measured beside it. */
export async function pauseJobs(service: Service, log: Log): Promise<void> {
  const connection = connectRedis(service.databaseUrls.REDIS_URL, { kind: 'jobs' }, log);
  const queue = new Queue(JOB_QUEUE.name, { connection, prefix: JOB_QUEUE.prefix });
  await queue.pause();
  await queue.close();
  connection.disconnect();
}

/** In MariaDB's own engine of sequences, so that no row crosses the wire. */
async function insertRows(mysql: Pool, couponId: string, first: number, last: number): Promise<void> {
  await mysql.query<ResultSetHeader>(
    `INSERT INTO coupon_claim_log
       SELECT coupon_id, seq, CONCAT('member-', LPAD(seq, 13, '0')), UTC_TIMESTAMP(3), NULL, epoch
         FROM coupon JOIN shard USING (shard) JOIN seq_${first}_to_${last} WHERE coupon_id = ?`,
    [couponId],
  );
}

/** Their epochs. */
async function shardsOf(mysql: Pool, couponIds: readonly string[]): Promise<Map<number, number>> {
  const [rows] = await mysql.query<RowDataPacket[]>(
    'SELECT DISTINCT shard, epoch FROM coupon JOIN shard USING (shard) WHERE coupon_id IN (?)',
    [couponIds],
  );
  return new Map(rows.map((row) => [Number(row['shard']), Number(row['epoch'])]));
}

async function whenRebuilt(
  service: Service,
  epochsBefore: ReadonlyMap<number, number>,
  signal: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + REBUILT_TIMEOUT_MS;
  for (;;) {
    const { shards } = JSON.parse(await service.admin('GET', '/v1/shards')) as {
      shards: { shard: number; epoch: number; state: string }[];
    };
    const missing = shards.filter(({ shard, epoch, state }) => {
      const before = epochsBefore.get(shard);
      return before !== undefined && (epoch <= before || state !== 'open');
    });
    if (missing.length === 0) return;
    if (Date.now() > deadline) throw new Error(`a shard was not rebuilt within ${REBUILT_TIMEOUT_MS} ms`);
    await delay(POLL_MS, undefined, { signal });
  }
}
