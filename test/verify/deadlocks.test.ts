// The fault `mysql-deadlocks` hits: it is the ledger that loses the deadlock, on a real server, and its next attempt is written.
import { beforeAll, expect, it } from 'vitest';
import type { OutboxEntry } from '../../coupons/outbox.js';
import { ensureShards } from '../../coupons/shards.js';
import type { Connection, Pool } from '../../platform/mysql.js';
import { connectMysql, createMysqlPool, ER_LOCK_DEADLOCK, mysqlErrno } from '../../platform/mysql.js';
import { lockAgainstTheLedger } from '../../verify/deadlocks.js';
import { writeBatch } from '../../workers/ledger/write.js';
import { migrate } from '../../workers/migrations/migrate.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { createTestDatabase } from '../harness/database.js';
import { waitFor } from '../harness/wait-for.js';

const COUPON = 'sale';
let pool: Pool;
let connection: Connection;

beforeAll(async () => {
  const { url } = await createTestDatabase();
  await migrate(url);
  pool = createMysqlPool(url, 2);
  connection = await connectMysql(url);
  atEndOfFile(async () => {
    await connection.end();
    await pool.end();
  });
  await ensureShards(pool, 2);
  await pool.query(
    `INSERT INTO coupon (coupon_id, shard, version, applied_version, total, paused, ack, returnable, ceiling, created_as, created_at)
     VALUES (?, 1, 1, 1, 9, 0, 'redis', 1, 9, '', UTC_TIMESTAMP(3))`,
    [COUPON],
  );
});

const write = (claimNo: number) => {
  const entry: OutboxEntry = {
    kind: 'grant',
    id: `${claimNo}-0`,
    couponId: COUPON,
    claimNo,
    userId: `user-${claimNo}`,
    at: 1,
    epoch: 0,
  };
  return writeBatch(connection, { shard: 1, epoch: 0, entries: [entry], ledgerWindow: 9 });
};

it('makes the ledger the victim, whose next attempt is written', async () => {
  const stop = new AbortController();
  const locking = (async () => {
    while (!stop.signal.aborted) await lockAgainstTheLedger(pool, stop.signal);
  })();
  let claimNo = 1;
  const isLost = async (): Promise<boolean> => {
    const error = await write(claimNo).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (error === undefined) claimNo++;
    return mysqlErrno(error) === ER_LOCK_DEADLOCK;
  };
  await waitFor(isLost, { what: 'the ledger to lose a deadlock' }).finally(() => stop.abort());
  await locking;
  expect(await write(claimNo)).toMatchObject({ status: 'written', ids: [`${claimNo}-0`] });
});
