// A batch of the outbox as it stands in the stream: what may leave it, and what Redis is told with it. A real MariaDB.
import { beforeAll, expect, it } from 'vitest';
import type { RawEntry } from '../../coupons/outbox.js';
import { ensureShards } from '../../coupons/shards.js';
import type { Connection, RowDataPacket } from '../../platform/mysql.js';
import { connectMysql, createMysqlPool } from '../../platform/mysql.js';
import { writeOutboxBatch } from '../../workers/ledger/write-outbox.js';
import { migrate } from '../../workers/migrations/migrate.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { createTestDatabase } from '../harness/database.js';

const AT = '1700000000123';
const EPOCH = 5;
let connection: Connection;

beforeAll(async () => {
  const { url } = await createTestDatabase();
  await migrate(url);
  const pool = createMysqlPool(url, 1);
  connection = await connectMysql(url);
  atEndOfFile(async () => {
    await connection.end();
    await pool.end();
  });
  await ensureShards(pool, 1);
  await pool.query('UPDATE shard SET epoch = ?', [EPOCH]);
});

const head = (kind: string, epoch = EPOCH) => ['kind', kind, 'at', AT, 'epoch', String(epoch)];
const grants = (id: string, numbers: string, users: string, epoch?: number): RawEntry => [
  id,
  [...head('grants', epoch), 'coupon', 'sale', 'numbers', numbers, 'users', users],
];
const giveBack = (id: string, claimNo: number, user: string): RawEntry => [
  id,
  [...head('return'), 'coupon', 'sale', 'no', String(claimNo), 'user', user],
];

it('tells what may leave the outbox and with which returns, drops what is of another epoch, and leaves what comes early', async () => {
  const [letterId, letter] = grants('6-0', '9-9', 'cid', EPOCH - 1);
  const entries: RawEntry[] = [
    grants('1-0', '1-3', 'ann\nbob\n\u0000'),
    grants('2-0', '4-5', 'eve\nmallory', EPOCH - 1),
    giveBack('3-0', 2, 'bob'),
    giveBack('4-0', 1, 'mallory'),
    giveBack('5-0', 8, 'dan'),
    // A dead letter is of no epoch.
    [letterId, [...(letter ?? []), 'letter', '77']],
  ];
  const task = { shard: 0, epoch: EPOCH, entries, ledgerWindow: 10, leaveEarly: true };
  const result = await writeOutboxBatch(connection, task);
  expect(result).toMatchObject({ status: 'written', claims: 3, foreign: ['2-0'], early: ['5-0'] });
  if (result.status !== 'written') return;
  // 4-0 is done as a dead letter: it gives no unit back.
  expect(result.ids).toEqual(['1-0', '4-0', '6-0']);
  expect([...result.coupons]).toEqual([['sale', { ceiling: 19, returns: ['3-0'] }]]);
  expect(result.refused.map(({ entry }) => [entry.id, entry.kind])).toEqual([
    ['1-0', 'poison'],
    ['4-0', 'return'],
  ]);
  const [rows] = await connection.query<RowDataPacket[]>(
    'SELECT claim_no, user_id, returned_at FROM coupon_claim_log ORDER BY claim_no',
  );
  expect(rows.map((row) => [Number(row['claim_no']), String(row['user_id']), row['returned_at'] !== null])).toEqual([
    [1, 'ann', false],
    [2, 'bob', true],
    [9, 'cid', false],
  ]);
  expect(await writeOutboxBatch(connection, { ...task, epoch: EPOCH - 1 })).toEqual({ status: 'stale_epoch' });
});

it('leaves only those early returns that were not left long enough', async () => {
  const entries = [giveBack('7-0', 20, 'fay'), giveBack('8-0', 21, 'gil')];
  const task = { shard: 0, epoch: EPOCH, entries, ledgerWindow: 10, leaveEarly: true, overdue: ['7-0'] };
  const result = await writeOutboxBatch(connection, task);
  expect(result).toMatchObject({ ids: ['7-0'], refused: [{ entry: { id: '7-0' } }], early: ['8-0'] });
});
