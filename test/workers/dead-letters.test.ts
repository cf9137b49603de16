// Entries that MySQL refuses: they do not hold up their neighbours, are not lost, and are settled once MySQL takes them. The
// real ledger, a real MariaDB with a trigger that refuses what a test calls poison.
import { beforeEach, describe, expect, it } from 'vitest';
import { writeLetters } from '../../coupons/dead-letters.js';
import { outboxKey, shardOf } from '../../coupons/keys.js';
import type { RowDataPacket } from '../../platform/mysql.js';
import { connectMysql } from '../../platform/mysql.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { startClaiming } from '../harness/claiming.js';
import { users } from '../harness/crowd.js';
import { waitFor } from '../harness/wait-for.js';

const { installation, claims, coupons, claimAll, outboxEmpty, shardsAreBack, ...started } = await startClaiming();
let { ledger } = started;
beforeEach(async () => {
  await takeEverything();
  await installation.mysql.query('DELETE FROM dead_letter');
});

const create = (couponId: string, total: number) =>
  coupons.create({ couponId, total, opensAt: null, closesAt: null, ack: 'redis', returnable: true });
const letters = async () => (await coupons.deadLetters.list({ after: 0, limit: 100 })).letters;
const violated = async () => (await coupons.audit()).invariants.filter((i) => i.violations > 0).map(({ name }) => name);

/** MySQL refuses rows of users whose id begins with `eve`, and marks of returns of users whose id begins with `rita`. */
async function refusePoison(): Promise<void> {
  const refusal = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no eve here'";
  await installation.mysql.query(`CREATE TRIGGER refuse_grants BEFORE INSERT ON coupon_claim_log FOR EACH ROW
    IF NEW.user_id LIKE 'eve%' THEN ${refusal}; END IF`);
  await installation.mysql.query(`CREATE TRIGGER refuse_returns BEFORE UPDATE ON coupon_claim_log FOR EACH ROW
    IF NEW.user_id LIKE 'rita%' THEN ${refusal}; END IF`);
}
async function takeEverything(): Promise<void> {
  await installation.mysql.query('DROP TRIGGER IF EXISTS refuse_grants');
  await installation.mysql.query('DROP TRIGGER IF EXISTS refuse_returns');
}
/** As if its time had come. */
const dueNow = () => installation.mysql.query('UPDATE dead_letter SET next_attempt_at = UTC_TIMESTAMP(3)');

describe('a claim that MySQL refuses', () => {
  it('is put aside, its neighbours are written, and it is settled by itself when MySQL takes it', async () => {
    await create('plain', 100);
    await outboxEmpty();
    await refusePoison();
    await claimAll('plain', [...users(20), 'eve-1', ...users(20, 'more'), 'eve-2', 'last']);
    await outboxEmpty();
    expect(await installation.claimRows('plain')).toHaveLength(41);
    expect(await letters()).toMatchObject([
      { kind: 'grant', couponId: 'plain', claimNo: 21, userId: 'eve-1', reason: 'no eve here', status: 'retrying' },
      { kind: 'grant', couponId: 'plain', claimNo: 42, userId: 'eve-2', reason: 'no eve here', status: 'retrying' },
    ]);
    // Known, not lost.
    expect(await coupons.audit()).toMatchObject({ ok: true, deadLetters: 2 });
    expect(await claims.receipt('plain', 'eve-1')).toMatchObject({ receipt: { claimNo: 21 } });
    await takeEverything();
    await dueNow();
    await waitFor(async () => (await letters()).length === 0, { what: 'the job to have them settled' });
    expect((await installation.claimRows('plain')).map(({ claimNo }) => claimNo)).toEqual(
      Array.from({ length: 43 }, (_, i) => i + 1),
    );
    expect(await violated()).toEqual([]);
  });

  it('is tried again less and less often, then parked, and settled when an operator asks for it', async () => {
    await create('parked', 10);
    await refusePoison();
    await claims.claim('parked', 'eve');
    const [letter] = await waitFor(
      async () => {
        const found = await letters();
        return found.length === 1 && found;
      },
      { what: 'the letter' },
    );
    if (letter === undefined) throw new Error('there is no letter');
    for (let attempt = 2, delay = 0; attempt <= 5; attempt++) {
      await dueNow();
      const now = await waitFor(
        async () => {
          const [found] = await letters();
          return found?.attempts === attempt && found;
        },
        { what: `attempt ${attempt}` },
      );
      if (attempt === 5) {
        expect(now).toMatchObject({ status: 'parked', nextAttemptAt: null });
        continue;
      }
      const next = (now.nextAttemptAt ?? 0) - Date.now();
      expect(next).toBeGreaterThan(delay);
      delay = next;
    }
    await expect(coupons.deadLetters.retry(letter.id)).rejects.toMatchObject({
      code: 'dead_letter_refused',
      message: 'no eve here',
    });
    expect(await letters()).toMatchObject([{ status: 'parked', attempts: 6 }]);
    await takeEverything();
    await coupons.deadLetters.retry(letter.id);
    expect(await letters()).toEqual([]);
    expect(await installation.claimRows('parked')).toEqual([{ claimNo: 1, userId: 'eve' }]);
    await expect(coupons.deadLetters.retry(letter.id)).rejects.toMatchObject({ code: 'unknown_dead_letter' });
  }, 60_000);

  it('is loaded by a rebuild with its receipt and its return, and its number and unit are not given to another', async () => {
    await create('rebuilt', 6);
    await claimAll('rebuilt', ['ann', 'rita']);
    await outboxEmpty();
    await refusePoison();
    const [eve1, , eve2] = await claimAll('rebuilt', ['eve-1', 'bob', 'eve-2']);
    const [ritas, eves] = [await claims.returnClaim('rebuilt', 'rita'), await claims.returnClaim('rebuilt', 'eve-1')];
    await outboxEmpty();
    expect((await letters()).map(({ kind }) => kind)).toEqual(['grant', 'grant', 'return', 'return']);
    await installation.redisServer.restart();
    await shardsAreBack('rebuilt');
    const receipt = (outcome: unknown) => (outcome as { receipt?: unknown }).receipt;
    expect(receipt(await claims.claim('rebuilt', 'eve-2'))).toEqual(receipt(eve2));
    expect(await claims.claim('rebuilt', 'eve-1')).toMatchObject({ code: 'returned' });
    expect(await claims.returnClaim('rebuilt', 'eve-1')).toEqual(eves);
    expect(await claims.returnClaim('rebuilt', 'rita')).toEqual(ritas);
    expect(receipt(eve1)).toMatchObject({ claimNo: 3 });
    await takeEverything();
    await dueNow();
    await waitFor(async () => (await letters()).length === 0, { what: 'the job to have them settled' });
    const rest = await waitFor(
      async () => {
        const outcomes = await claimAll('rebuilt', users(8));
        const settled = outcomes.every((outcome) => outcome.status !== 'refused' || outcome.code === 'sold_out');
        return settled && outcomes;
      },
      { what: 'nothing to be on its way any more' },
    );
    // Six units, five claims, two of them given back.
    expect(rest.filter(({ status }) => status !== 'refused')).toHaveLength(3);
    await outboxEmpty();
    expect((await installation.claimRows('rebuilt')).map(({ claimNo }) => claimNo)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(await violated()).toEqual([]);
  });

  it('does not keep a rebuild from opening the shard', async () => {
    await create('closed', 10);
    await outboxEmpty();
    await ledger.drain();
    await refusePoison();
    await claimAll('closed', ['ann', 'eve', 'bob']);
    await installation.redisServer.restart();
    ledger = await installation.startLedger();
    await shardsAreBack('closed');
    await outboxEmpty();
    expect(await letters()).toMatchObject([{ userId: 'eve', claimNo: 2 }]);
    expect(await claims.claim('closed', 'eve')).toMatchObject({ status: 'already_claimed', receipt: { claimNo: 2 } });
    expect(await claims.claim('closed', 'cid')).toMatchObject({ receipt: { claimNo: 4 } });
    await takeEverything();
    await coupons.deadLetters.retry((await letters())[0]?.id ?? 0);
  });
});

describe('an entry', () => {
  it('that nobody can read is put aside and listed, and its neighbours are written', async () => {
    await create('garbage', 10);
    await outboxEmpty();
    const key = outboxKey(shardOf('garbage', installation.settings.shardCount));
    await installation.redis.xadd(key, '*', 'kind', 'nonsense');
    await installation.redis.xadd(key, '*', 'kind', 'nonsense', 'text', 'x'.repeat(100_000));
    await claims.claim('garbage', 'ann');
    await outboxEmpty();
    expect(await installation.claimRows('garbage')).toHaveLength(1);
    expect(await letters()).toMatchObject([
      {
        kind: 'unreadable',
        couponId: null,
        fields: ['kind', 'nonsense'],
        reason: expect.stringContaining('cannot be read') as string,
      },
      { kind: 'unreadable', fields: [] },
    ]);
    expect(await violated()).toEqual([]);
  });

  it('is one letter although the ledger dies before it leaves the outbox', async () => {
    await create('again', 10);
    await outboxEmpty();
    await ledger.drain();
    const key = outboxKey(shardOf('again', installation.settings.shardCount));
    const id = (await installation.redis.xadd(key, '*', 'kind', 'nonsense')) ?? '';
    ledger = await installation.startLedger();
    await outboxEmpty();
    // The acknowledgement is lost in a failover, or never came.
    await installation.redis.call('XADD', key, id, 'kind', 'nonsense').catch(() => undefined);
    await installation.redis.del(key);
    await installation.redis.call('XADD', key, id, 'kind', 'nonsense');
    await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the second delivery' });
    expect(await letters()).toHaveLength(1);
  });
});

describe('an entry of several claims', () => {
  it('that an older version could not read is known as soon as it can be, and is settled as a whole', async () => {
    await create('newer', 10);
    await outboxEmpty();
    await ledger.drain();
    const outcomes = await claimAll('newer', ['ann', 'eve-1', 'bob', 'eve-2']);
    const shard = shardOf('newer', installation.settings.shardCount);
    const key = outboxKey(shard);
    const entries = (await installation.redis.xrange(key, '-', '+')) as [id: string, fields: string[]][];
    // What a ledger does that knows no such entries.
    await writeLetters(
      installation.mysql,
      shard,
      entries.map(([id, fields]) => ({
        entry: { kind: 'poison', id, reason: 'unknown kind', fields },
        reason: 'unknown kind',
      })),
    );
    await installation.redis.xtrim(key, 'MAXLEN', 0);
    expect(await coupons.audit()).toMatchObject({ ok: true, deadLetters: entries.length });

    await refusePoison();
    await installation.redisServer.restart();
    ledger = await installation.startLedger();
    await shardsAreBack('newer');
    const again = await claimAll('newer', ['ann', 'eve-1', 'bob', 'eve-2']);
    const receipts = (of: readonly unknown[]) => of.map((outcome) => (outcome as { receipt?: unknown }).receipt);
    expect(receipts(again)).toEqual(receipts(outcomes));

    // One attempt, though two of its claims are refused; the others get their rows.
    await dueNow();
    await waitFor(
      async () =>
        (await installation.claimRows('newer')).length === 2 && (await letters()).every(({ attempts }) => attempts > 1),
      { what: 'the rows of ann and bob, and the letters of the others' },
    );
    const left = await letters();
    expect(left.length).toBeGreaterThan(0);
    expect(left).toMatchObject(left.map(() => ({ kind: 'unreadable', status: 'retrying', attempts: 2 })));
    expect(await violated()).toEqual([]);
    await takeEverything();
    await dueNow();
    await waitFor(async () => (await letters()).length === 0, { what: 'the job to have them settled' });
    expect((await installation.claimRows('newer')).map(({ claimNo }) => claimNo)).toEqual([1, 2, 3, 4]);
    expect(await violated()).toEqual([]);
  });
});

describe('trouble that is not the fault of an entry', () => {
  it.each([
    ['a lock that somebody holds', 'lock'],
    ['a server that takes no writes', 'read-only'],
    ['a table that is gone', 'rename'],
  ])('is waited out: %s', async (_what, kind) => {
    const couponId = `trouble-${kind}`;
    await create(couponId, 10);
    await outboxEmpty();
    const other = await connectMysql(installation.settings.mysqlUrl ?? '');
    atEndOfFile(() => other.end());
    if (kind === 'lock') {
      await other.query('SET SESSION innodb_lock_wait_timeout = 1');
      await other.query('START TRANSACTION');
      await other.query("INSERT INTO coupon_claim_log VALUES (?, 1, 'other', UTC_TIMESTAMP(3), NULL, 1)", [couponId]);
    } else if (kind === 'read-only') {
      await installation.mysql.query(
        "CREATE TRIGGER refuse_grants BEFORE INSERT ON coupon_claim_log FOR EACH ROW SIGNAL SQLSTATE '25006' SET MYSQL_ERRNO = 1290",
      );
    } else {
      await other.query('RENAME TABLE coupon_claim_log TO away');
    }
    await claims.claim(couponId, 'ann');
    // The ledger has tried at least once: its warning is what an operator would see.
    await waitFor(async () => (await pending(couponId)) === 1, { what: 'the ledger to have the entry' });
    if (kind === 'lock') await other.query('ROLLBACK');
    else if (kind === 'read-only') await takeEverything();
    else await other.query('RENAME TABLE away TO coupon_claim_log');
    await outboxEmpty();
    expect(await installation.claimRows(couponId)).toEqual([{ claimNo: 1, userId: 'ann' }]);
    expect(await letters()).toEqual([]);
  });
});

async function pending(couponId: string): Promise<number> {
  const key = outboxKey(shardOf(couponId, installation.settings.shardCount));
  const [count] = (await installation.redis.xpending(key, 'ledger')) as [number];
  return count;
}

it('a shard takes a limited number of letters, and then waits', async () => {
  await create('full', 10);
  await outboxEmpty();
  const shard = shardOf('full', installation.settings.shardCount);
  await installation.mysql.query<RowDataPacket[]>(
    `INSERT INTO dead_letter (shard, entry_id, fingerprint, kind, fields, reason, status, attempts, created_at)
     SELECT ?, seq, REPEAT('x', 32), 'unreadable', '[]', 'test', 'parked', 5, UTC_TIMESTAMP(3) FROM seq_1_to_10000`,
    [shard],
  );
  await installation.redis.xadd(outboxKey(shard), '*', 'kind', 'nonsense');
  await waitFor(async () => (await pending('full')) === 1, { what: 'the ledger to have the entry' });
  expect(await installation.outboxEntries()).toBe(1);
  await installation.mysql.query("DELETE FROM dead_letter WHERE reason = 'test'");
  await outboxEmpty();
  expect(await letters()).toHaveLength(1);
});
