// The batches of several shards in one transaction: all of them, or nothing. A real MariaDB.
import { beforeEach, expect, it } from 'vitest';
import type { RawEntry } from '../../coupons/outbox.js';
import { ensureShards } from '../../coupons/shards.js';
import type { Connection, RowDataPacket } from '../../platform/mysql.js';
import { connectMysql, createMysqlPool } from '../../platform/mysql.js';
import type { OutboxTask } from '../../workers/ledger/write-outbox.js';
import { writeOutboxBatch } from '../../workers/ledger/write-outbox.js';
import { writeTogether } from '../../workers/ledger/write-together.js';
import { migrate } from '../../workers/migrations/migrate.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { createTestDatabase } from '../harness/database.js';

const AT = '1700000000123';
const EPOCH = 5;
const { url } = await createTestDatabase();
await migrate(url);
const pool = createMysqlPool(url, 1);
const connection: Connection = await connectMysql(url);
atEndOfFile(async () => {
  await connection.end();
  await pool.end();
});
await ensureShards(pool, 16);
await pool.query('ALTER TABLE coupon_claim_log ADD CHECK (claim_no < 1000)');
for (const [shard, couponId] of ['red', 'green', 'blue'].entries()) {
  await pool.query(
    `INSERT INTO coupon (coupon_id, shard, version, applied_version, total, paused, ack, returnable, ceiling, base_no, created_as, created_at)
     VALUES (?, ?, 1, 1, 100, 0, 'redis', 1, 10, 0, '{}', UTC_TIMESTAMP(3))`,
    [couponId, shard],
  );
}

beforeEach(async () => {
  await pool.query('DELETE FROM coupon_claim_log');
  await pool.query('UPDATE coupon SET ceiling = 10');
  await pool.query('UPDATE shard SET epoch = ?', [EPOCH]);
});

const grants = (id: string, couponId: string, numbers: string, users: string, epoch = EPOCH): RawEntry => [
  id,
  ['kind', 'grants', 'at', AT, 'epoch', String(epoch), 'coupon', couponId, 'numbers', numbers, 'users', users],
];
const task = (shard: number, ...entries: RawEntry[]): OutboxTask => ({
  shard,
  epoch: EPOCH,
  entries,
  ledgerWindow: 10,
});
const red = task(0, grants('1-0', 'red', '1-2', 'ann\nbob'), grants('2-0', 'red', '3-3', 'cid'));
const green = task(1, grants('1-0', 'green', '7-7', 'ann'));

async function written() {
  const [rows] = await pool.query<RowDataPacket[]>(
    'SELECT coupon_id, claim_no, user_id FROM coupon_claim_log ORDER BY coupon_id, claim_no',
  );
  const [ceilings] = await pool.query<RowDataPacket[]>('SELECT ceiling FROM coupon ORDER BY shard');
  return {
    rows: rows.map((row) => `${String(row['coupon_id'])} ${String(row['claim_no'])} ${String(row['user_id'])}`),
    ceilings: ceilings.map((row) => Number(row['ceiling'])),
  };
}
const NOTHING = { rows: [], ceilings: [10, 10, 10] };

it('writes new claims of several shards, and answers each as it would have been answered alone', async () => {
  const together = await writeTogether(connection, [red, green]);
  const all = await written();
  expect(all).toEqual({ rows: ['green 7 ann', 'red 1 ann', 'red 2 bob', 'red 3 cid'], ceilings: [13, 17, 10] });
  await pool.query('DELETE FROM coupon_claim_log');
  expect(together).toEqual([await writeOutboxBatch(connection, red), await writeOutboxBatch(connection, green)]);
  expect(await written()).toEqual(all);
});

it('does nothing when one of the shards has a newer epoch', async () => {
  await pool.query('UPDATE shard SET epoch = ? WHERE shard = 1', [EPOCH + 1]);
  expect(await writeTogether(connection, [red, green])).toBeUndefined();
  expect(await written()).toEqual(NOTHING);
  expect(await writeTogether(connection, [red, task(2, grants('1-0', 'blue', '1-1', 'ann'))])).toHaveLength(2);
});

it.each<[string, OutboxTask]>([
  ['a claim of another epoch', task(2, grants('1-0', 'blue', '1-1', 'dan', EPOCH - 1))],
  ['a dead letter', task(2, ['1-0', [...(grants('1-0', 'blue', '1-1', 'dan')[1] ?? []), 'letter', '77']])],
  ['an entry that cannot be read', task(2, grants('1-0', 'blue', '1-2', 'dan'))],
  [
    'a return',
    task(2, ['1-0', ['kind', 'return', 'coupon', 'blue', 'no', '1', 'user', 'dan', 'at', AT, 'epoch', '5']]),
  ],
  ['values that MySQL refuses', task(2, grants('1-0', 'blue', '1000-1000', 'dan'))],
  ['a user who has another number', task(2, grants('1-0', 'blue', '1-1', 'dan'), grants('2-0', 'blue', '2-2', 'dan'))],
])('does nothing when one of them has %s', async (_, other) => {
  expect(await writeTogether(connection, [red, other, green])).toBeUndefined();
  expect(await written()).toEqual(NOTHING);
});

it('does nothing when a claim is there already', async () => {
  await writeOutboxBatch(connection, task(1, grants('1-0', 'green', '7-7', 'ann')));
  const before = await written();
  expect(await writeTogether(connection, [red, green])).toBeUndefined();
  expect(await written()).toEqual(before);
});

it('does nothing while somebody holds a lock on one of them, and rejects when the connection is lost', async () => {
  const holder = await connectMysql(url);
  const impatient = await connectMysql(url);
  try {
    await impatient.query('SET SESSION innodb_lock_wait_timeout = 1');
    await holder.query('START TRANSACTION');
    await holder.query('SELECT epoch FROM shard WHERE shard = 1 FOR UPDATE');
    expect(await writeTogether(impatient, [red, green])).toBeUndefined();
    await holder.query('ROLLBACK');
    expect(await written()).toEqual(NOTHING);
    impatient.destroy();
    await expect(writeTogether(impatient, [red, green])).rejects.toThrow();
  } finally {
    await holder.end();
  }
});

it('does not wait for the lock of a shard that is none of them', async () => {
  const holder = await connectMysql(url);
  const impatient = await connectMysql(url);
  try {
    await impatient.query('SET SESSION innodb_lock_wait_timeout = 1');
    await holder.query('START TRANSACTION');
    await holder.query('SELECT epoch FROM shard WHERE shard = 12 FOR UPDATE');
    // So many that the whole table would be as quickly read.
    const others = [2, 3, 4, 5, 6, 7, 8, 9].map((shard) => task(shard));
    expect(await writeTogether(impatient, [red, green, ...others])).toHaveLength(10);
    await holder.query('ROLLBACK');
  } finally {
    await holder.end();
    await impatient.end();
  }
});

it('keeps the highest ceiling of a coupon that is in two of them', async () => {
  const stray = task(1, grants('1-0', 'red', '1-1', 'ann'));
  expect(await writeTogether(connection, [task(0, grants('1-0', 'red', '50-50', 'bob')), stray])).toHaveLength(2);
  expect((await written()).ceilings).toEqual([60, 10, 10]);
});
