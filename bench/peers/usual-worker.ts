// The other half of the usual design: a BullMQ worker that writes one row for each job with INSERT IGNORE, many jobs at a time over
// a pool of connections. Tells its parent that it is ready; ends when its parent does.
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { createPool } from 'mysql2/promise';
import type { ClaimJob } from './usual-design.js';
import { QUEUE } from './usual-design.js';

const CONCURRENCY = 50;
const CONNECTIONS = 10;

export interface WorkerOptions {
  readonly redisUrl: string;
  readonly mysqlUrl: string;
}

process.on('disconnect', () => process.exit());
const { redisUrl, mysqlUrl } = JSON.parse(process.argv[2] ?? '{}') as WorkerOptions;
const mysql = createPool({ uri: mysqlUrl, connectionLimit: CONNECTIONS, timezone: 'Z' });
const worker = new Worker<ClaimJob>(
  QUEUE,
  async ({ data: { couponId, userId, claimNo, claimedAt } }) => {
    await mysql.execute(
      'INSERT IGNORE INTO usual_claim_log (coupon_id, claim_no, user_id, claimed_at) VALUES (?, ?, ?, ?)',
      [couponId, claimNo, userId, new Date(claimedAt)],
    );
  },
  { connection: new Redis(redisUrl, { maxRetriesPerRequest: null }), concurrency: CONCURRENCY },
);
await worker.waitUntilReady();
process.send?.({});
