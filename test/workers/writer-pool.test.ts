// The writer threads while somebody holds a lock on one of the shards: a real MariaDB, and the threads of the build.
import { expect, it } from 'vitest';
import type { RawEntry } from '../../coupons/outbox.js';
import { ensureShards } from '../../coupons/shards.js';
import { connectMysql, createMysqlPool } from '../../platform/mysql.js';
import type { OutboxTask } from '../../workers/ledger/write-outbox.js';
import { WriterPool } from '../../workers/ledger/writer-pool.js';
import { migrate } from '../../workers/migrations/migrate.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { createTestDatabase } from '../harness/database.js';

const EPOCH = 5;
const SHARDS = 4;
const [LOCKED, ...OTHERS] = [0, 1, 2, 3] as const;
const { url } = await createTestDatabase();
await migrate(url);
const mysql = createMysqlPool(url, 1);
const writers = new WriterPool({ mysqlUrl: url, recorded: false, threads: 2, queueMax: SHARDS, rowsAwaited: false });
const [holder, patient] = [await connectMysql(url), await connectMysql(url)];
atEndOfFile(async () => {
  await writers.stop();
  await Promise.all([holder.end(), patient.end(), mysql.end()]);
});
await ensureShards(mysql, SHARDS);
await mysql.query('UPDATE shard SET epoch = ?', [EPOCH]);

/** The claim with this number. */
function taskOf(shard: number, claimNo: number): OutboxTask {
  const head = ['kind', 'grants', 'at', '1700000000123', 'epoch', String(EPOCH)];
  const claim = ['coupon', `coupon-${shard}`, 'numbers', `${claimNo}-${claimNo}`, 'users', `user-${claimNo}`];
  const entry: RawEntry = [`${claimNo}-0`, [...head, ...claim]];
  return { shard, epoch: EPOCH, entries: [entry], ledgerWindow: 10 };
}
const writeAll = (shards: readonly number[], claimNo: number) =>
  Promise.all(shards.map((shard) => writers.writeOutbox(taskOf(shard, claimNo))));
const lock = 'SELECT epoch FROM shard WHERE shard = ? FOR UPDATE';

it('writes the other shards of a group long before others would give up waiting for its lock, and then without it', async () => {
  await holder.query('START TRANSACTION');
  await holder.query(lock, [LOCKED]);
  let over = false;
  const waiting = patient.query(lock, [LOCKED]).finally(() => {
    over = true;
  });
  const locked = writers.writeOutbox(taskOf(LOCKED, 1)).catch((error: unknown) => error);
  expect(await writeAll(OTHERS, 1)).toHaveLength(OTHERS.length);
  expect(await locked).toMatchObject({ message: expect.stringContaining('Lock wait timeout') as string });
  expect(over).toBe(false);

  // Tried again, it waits by itself, and may have to be tried once more.
  const retried = writers.writeOutbox(taskOf(LOCKED, 1)).catch(() => undefined);
  for (let claimNo = 2; claimNo < 10; claimNo++) expect(await writeAll(OTHERS, claimNo)).toHaveLength(OTHERS.length);
  await holder.query('ROLLBACK');
  await waiting;
  const written = (await retried) ?? (await writers.writeOutbox(taskOf(LOCKED, 1)));
  expect(written).toMatchObject({ status: 'written', ids: ['1-0'] });
});

it('counts what waits for company as waiting, and nothing else', async () => {
  const written = writeAll([LOCKED, ...OTHERS], 100);
  expect(writers.load().waiting).toBe(SHARDS);
  await written;
  expect(writers.load().waiting).toBe(0);
});
