// One batch into MySQL: all or nothing, once, only under the shard's epoch, and what is called written can be read.
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { insertCoupon } from '../../coupons/coupon-table.js';
import type { OutboxEntry, PoisonEntry } from '../../coupons/outbox.js';
import { ensureShards } from '../../coupons/shards.js';
import { ConfigurationError } from '../../platform/errors.js';
import type { Connection, Pool, RowDataPacket } from '../../platform/mysql.js';
import { connectMysql, createMysqlPool } from '../../platform/mysql.js';
import { writeBatch } from '../../workers/ledger/write.js';
import { migrate } from '../../workers/migrations/migrate.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { createTestDatabase } from '../harness/database.js';

const AT = 1_700_000_000_123;
let url: string;
let pool: Pool;
let connection: Connection;

beforeAll(async () => {
  url = (await createTestDatabase()).url;
  await migrate(url);
  pool = createMysqlPool(url, 2);
  connection = await connectMysql(url);
  atEndOfFile(async () => {
    await connection.end();
    await pool.end();
  });
  await ensureShards(pool, 2);
  await pool.query('UPDATE shard SET epoch = 5');
});
beforeEach(async () => {
  await pool.query('DELETE FROM coupon_claim_log');
  await pool.query('DELETE FROM dead_letter');
  await pool.query('DELETE FROM coupon');
});

const grant = (claimNo: number, userId: string, couponId = 'sale'): OutboxEntry => {
  return { kind: 'grant', id: `${claimNo}-0`, couponId, claimNo, userId, at: AT, epoch: 5 };
};
const giveBack = (claimNo: number, userId: string, at = AT + 1): OutboxEntry => {
  return { kind: 'return', id: `${claimNo}-1`, couponId: 'sale', claimNo, userId, at, epoch: 5 };
};
const write = (entries: (OutboxEntry | PoisonEntry)[], epoch = 5, leaveEarly = false) =>
  writeBatch(connection, { shard: 1, epoch, entries, ledgerWindow: 10, leaveEarly });
/** Statements that read, of this connection, so far. */
const selects = async () => {
  const [[row]] = await connection.query<RowDataPacket[]>("SHOW SESSION STATUS LIKE 'Com_select'");
  return Number(row?.['Value']);
};
const rows = async () => {
  const [found] = await pool.query<RowDataPacket[]>(
    'SELECT coupon_id, claim_no, user_id, claimed_at, epoch FROM coupon_claim_log ORDER BY coupon_id, claim_no',
  );
  return found.map((row) => [String(row['coupon_id']), Number(row['claim_no']), String(row['user_id'])]);
};

describe('a batch', () => {
  it('raises the ceiling of each of its coupons to its own, lowers none, and touches no other', async () => {
    const couponIds = ['first', 'higher', 'SALE', 'sale', 'untouched'];
    for (const couponId of couponIds) {
      const ceiling = couponId === 'higher' ? 1_000 : 10;
      await insertCoupon(pool, {
        ...{ couponId, shard: 1, version: 1, appliedVersion: 1, total: 5_000, ceiling, ack: 'fsync' },
        ...{ opensAt: null, closesAt: null, paused: false, returnable: false },
        ...{ baseNo: 0, createdAs: 'test', createdAt: AT, archiveState: 'none', archivedAt: null },
      });
    }
    await write([grant(7, 'ann', 'SALE'), grant(3, 'ann', 'first'), grant(9, 'ann'), grant(2, 'ann', 'higher')]);
    const [found] = await pool.query<RowDataPacket[]>('SELECT coupon_id, ceiling FROM coupon');
    expect(Object.fromEntries(found.map((row) => [String(row['coupon_id']), Number(row['ceiling'])]))).toEqual({
      first: 13,
      higher: 1_000,
      SALE: 17,
      sale: 19,
      untouched: 10,
    });
  });

  it('is written, whatever its order, with the time to the millisecond', async () => {
    const result = await write([grant(2, 'bob'), grant(1, 'ann'), grant(1, 'ann', 'SALE')]);
    expect(result).toMatchObject({ status: 'written', ids: ['2-0', '1-0'], claims: 3, refused: [] });
    expect(result.status === 'written' && [...result.ceilings]).toEqual([
      ['sale', 12],
      ['SALE', 11],
    ]);
    expect(await rows()).toEqual([
      ['SALE', 1, 'ann'],
      ['sale', 1, 'ann'],
      ['sale', 2, 'bob'],
    ]);
    const [times] = await pool.query<RowDataPacket[]>('SELECT DISTINCT claimed_at FROM coupon_claim_log');
    expect(times.map((row) => (row['claimed_at'] as Date).getTime())).toEqual([AT]);
  });

  it('is written with the coupon, time and epoch of each claim, whatever its neighbours have', async () => {
    const claims = [
      ['first', 1, AT, 5],
      ['first', 2, AT, 4],
      ['sale', 1, AT, 4],
      ['sale', 2, AT + 1, 4],
      ['sale', 3, AT, 5],
    ] as const;
    await write(claims.map(([couponId, no, at, epoch]) => ({ ...grant(no, `user-${no}`, couponId), at, epoch })));
    const [found] = await pool.query<RowDataPacket[]>(
      'SELECT coupon_id, claim_no, claimed_at, epoch FROM coupon_claim_log ORDER BY coupon_id, claim_no',
    );
    expect(
      found.map((row) => [
        String(row['coupon_id']),
        Number(row['claim_no']),
        (row['claimed_at'] as Date).getTime(),
        Number(row['epoch']),
      ]),
    ).toEqual(claims);
  });

  it('is written with the bytes of its users, whatever they are', async () => {
    const userIds = ["o'hara", '\\', '"%_?', 'zoë', '日本 🎟️', 'x\u00a0 '];
    await write(userIds.map((userId, i) => grant(i + 1, userId)));
    const [found] = await pool.query<RowDataPacket[]>(
      'SELECT HEX(user_id) AS hex FROM coupon_claim_log ORDER BY claim_no',
    );
    expect(found.map((row) => String(row['hex']))).toEqual(
      userIds.map((userId) => Buffer.from(userId).toString('hex').toUpperCase()),
    );
  });

  it('is written once when it comes twice, in whole or in part', async () => {
    await write([grant(1, 'ann'), grant(2, 'bob')]);
    const result = await write([grant(1, 'ann'), grant(2, 'bob'), grant(3, 'cid')]);
    expect(result).toMatchObject({ status: 'written', ids: ['1-0', '2-0', '3-0'], refused: [] });
    expect(await rows()).toHaveLength(3);
  });

  it('is written once when two ledgers write it at the same time', async () => {
    const entries = Array.from({ length: 500 }, (_, i) => grant(i + 1, `user-${i}`));
    const other = await connectMysql(url);
    atEndOfFile(() => other.end());
    const task = { shard: 1, epoch: 5, entries, ledgerWindow: 10 };
    // Either may lose a deadlock, as it may against anybody: the ledger then tries again.
    const both = await Promise.allSettled([writeBatch(connection, task), writeBatch(other, task)]);
    expect(both.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect(await write(entries)).toMatchObject({ refused: [] });
    expect(await rows()).toHaveLength(500);
  });

  it('is refused whole under an epoch that is not the current one', async () => {
    expect(await write([grant(1, 'ann')], 4)).toEqual({ status: 'stale_epoch' });
    expect(await write([grant(1, 'ann')], 6)).toEqual({ status: 'stale_epoch' });
    expect(await rows()).toEqual([]);
  });

  it('is held back while somebody takes a newer epoch, and then refused', async () => {
    const rebuilder = await connectMysql(url);
    atEndOfFile(() => rebuilder.end());
    await rebuilder.query('START TRANSACTION');
    await rebuilder.query('UPDATE shard SET epoch = 6 WHERE shard = 1');
    const writing = write([grant(1, 'ann')]);
    await rebuilder.query('COMMIT');
    expect(await writing).toEqual({ status: 'stale_epoch' });
    expect(await rows()).toEqual([]);
    await pool.query('UPDATE shard SET epoch = 5');
  });

  it('reports as a conflict, and never as written, a number or a user that another claim has', async () => {
    await write([grant(1, 'ann'), grant(2, 'bob')]);
    const result = await write([grant(1, 'eve'), grant(3, 'bob'), grant(4, 'dan')]);
    expect(result).toMatchObject({ status: 'written', ids: ['1-0', '3-0', '4-0'], claims: 1 });
    expect(result.status === 'written' && result.refused.map(({ entry }) => entry)).toMatchObject([
      { userId: 'eve' },
      { userId: 'bob' },
    ]);
    expect(await rows()).toEqual([
      ['sale', 1, 'ann'],
      ['sale', 2, 'bob'],
      ['sale', 4, 'dan'],
    ]);
  });

  it('counts, of two claims in it that are at odds, the first one, and never the second as written', async () => {
    const result = await write([grant(1, 'ann'), grant(2, 'bob'), grant(2, 'cid'), grant(3, 'ann'), grant(1, 'ann')]);
    expect(result).toMatchObject({ status: 'written', ids: ['1-0', '2-0', '3-0'], claims: 3 });
    expect(result.status === 'written' && result.refused.map(({ entry }) => entry)).toMatchObject([
      { userId: 'cid' },
      { claimNo: 3 },
    ]);
    expect(await rows()).toHaveLength(2);
  });

  it('is read back only where it met a claim that was there', async () => {
    const readsOf = async (entries: OutboxEntry[]) => {
      const before = await selects();
      await write(entries);
      return (await selects()) - before;
    };
    // The shard's epoch.
    expect(await readsOf([grant(1, 'ann'), grant(2, 'bob')])).toBe(1);
    // And which keys are taken, and the rows of those that were not inserted.
    expect(await readsOf([grant(2, 'bob'), grant(3, 'cid')])).toBe(3);
  });

  it('marks returns once, also of a claim in the same batch, and never by another time or for another user', async () => {
    const batch = [grant(1, 'ann'), giveBack(1, 'ann'), grant(2, 'bob'), grant(3, 'cid')];
    expect(await write(batch)).toMatchObject({ ids: ['1-0', '1-1', '2-0', '3-0'], claims: 3, refused: [] });
    expect(await write(batch)).toMatchObject({ ids: ['1-0', '1-1', '2-0', '3-0'], claims: 3, refused: [] });
    const result = await write([
      giveBack(1, 'ann', AT + 2),
      giveBack(2, 'ann'),
      giveBack(3, 'cid'),
      giveBack(9, 'eve'),
    ]);
    expect(result).toMatchObject({
      ids: ['1-1', '2-1', '3-1', '9-1'],
      refused: [{ entry: { claimNo: 1 } }, { entry: { claimNo: 2 } }, { entry: { claimNo: 9 } }],
    });
    const [marks] = await pool.query<RowDataPacket[]>('SELECT returned_at FROM coupon_claim_log ORDER BY claim_no');
    expect(marks.map((row) => (row['returned_at'] as Date | null)?.getTime())).toEqual([AT + 1, undefined, AT + 1]);
  });

  it('frees an entry of the outbox for removal when all that it holds is done, whatever became of each, and not before', async () => {
    const inOne = (...entries: OutboxEntry[]): OutboxEntry[] => entries.map((entry) => ({ ...entry, id: '7-0' }));
    const poison: PoisonEntry = { kind: 'poison', id: '7-0', reason: 'test', fields: ['kind', 'test'] };
    await write([grant(1, 'ann')]);
    const all = [...inOne(grant(1, 'ann'), grant(2, 'x'.repeat(65)), grant(1, 'eve'), grant(3, 'cid')), poison];
    const result = await write([grant(4, 'dan'), ...all]);
    expect(result).toMatchObject({ ids: ['4-0', '7-0'], claims: 3 });
    expect(result.status === 'written' && result.refused).toHaveLength(3);
    // One of three waits.
    const waiting = inOne(grant(5, 'fay'), giveBack(6, 'gus'), grant(7, 'hal'));
    expect(await write([...waiting, grant(8, 'ida')], 5, true)).toMatchObject({ ids: ['8-0'], claims: 3, refused: [] });
    expect(await write([...waiting], 5, false)).toMatchObject({ ids: ['7-0'], claims: 2, refused: [{}] });
  });

  it('is not cut to size: an entry with a value that does not fit is refused, and its neighbours are written', async () => {
    const entries = Array.from({ length: 40 }, (_, i) => grant(i + 1, `user-${i}`));
    entries[20] = grant(21, 'x'.repeat(65));
    const result = await write(entries);
    expect(result).toMatchObject({
      refused: [{ entry: { claimNo: 21 }, reason: expect.stringContaining('too long') as string }],
    });
    expect(result.status === 'written' && result.ids).toHaveLength(40);
    expect(result).toMatchObject({ claims: 39 });
    expect(result.status === 'written' && result.ceilings.get('sale')).toBe(50);
    expect(await rows()).toHaveLength(39);
  });

  it('is read back where MySQL took a value with a reservation', async () => {
    const userId = (type: string) => pool.query(`ALTER TABLE coupon_claim_log MODIFY user_id ${type} NOT NULL`);
    // Of text, unlike of bytes, spaces that do not fit are cut off with a note, also in strict mode.
    await userId('VARCHAR(3) CHARACTER SET ascii');
    try {
      const result = await write([grant(1, 'ann'), grant(2, 'bob ')]);
      expect(result).toMatchObject({ ids: ['1-0', '2-0'], claims: 1, refused: [{ entry: { claimNo: 2 } }] });
    } finally {
      await userId('VARBINARY(64)');
    }
  });
});

it('the number of shards is fixed by the first start', async () => {
  await expect(ensureShards(pool, 3)).rejects.toThrow(ConfigurationError);
  await expect(ensureShards(pool, 3)).rejects.toThrow('SHARD_COUNT is 3, but this database was made with 2');
});

describe('a return that comes before its claim', () => {
  it('is left for later while another ledger may be about to write the claim', async () => {
    expect(await write([giveBack(1, 'ann')], 5, true)).toMatchObject({ ids: [], refused: [], early: [{ id: '1-1' }] });
    await write([grant(1, 'ann')]);
    expect(await write([giveBack(1, 'ann')], 5, true)).toMatchObject({ ids: ['1-1'], refused: [], early: [] });
  });

  it('is refused when that is over, or when the claim is another one, or a dead letter', async () => {
    expect(await write([giveBack(1, 'ann')])).toMatchObject({ ids: ['1-1'], refused: [{}], early: [] });
    await write([grant(2, 'bob')]);
    expect(await write([giveBack(2, 'ann')], 5, true)).toMatchObject({ ids: ['2-1'], refused: [{}], early: [] });
    await write([grant(2, 'cid')]);
    // The claim becomes a letter in this batch, and the return in the next one.
    await write([grant(3, 'bob'), giveBack(3, 'bob')], 5, true);
    expect(await write([giveBack(3, 'bob')], 5, true)).toMatchObject({ ids: ['3-1'], refused: [{}], early: [] });
  });
});
