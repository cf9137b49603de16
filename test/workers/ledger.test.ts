// The way of a claim from Redis to MySQL: the real ledger in this process, against a real Redis and a real MariaDB.
import { beforeAll, describe, expect, it } from 'vitest';
import type { CouponsService } from '../../coupons/coupons.js';
import { fenceKey, LEDGER_GROUP, outboxKey, shardOf } from '../../coupons/keys.js';
import type { RowDataPacket } from '../../platform/mysql.js';
import type { AwaitedClaims } from '../harness/awaited-claims.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

const coupon = (couponId: string, total: number) => ({
  ...{ couponId, total, opensAt: null, closesAt: null, returnable: false },
  ack: undefined,
});
const users = (count: number, prefix = 'user') => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);

describe('the ledger', () => {
  let installation: Installation;
  let ledger: Awaited<ReturnType<Installation['startLedger']>>;
  let claims: AwaitedClaims;
  let coupons: CouponsService;
  const outboxEmpty = () =>
    waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
  /** And every shard open, for the claims too. */
  const everyConnectionBack = () =>
    waitFor(
      async () => {
        const ids = (await coupons.list({ after: '', limit: 100 })).coupons.map(({ couponId }) => couponId);
        const views = await Promise.all(ids.map((couponId) => claims.coupon(couponId)));
        return installation.redis.status === 'ready' && views.every((view) => !('status' in view));
      },
      { what: 'every connection and every coupon to be back' },
    );
  const claimAll = (couponId: string, who: string[]) => Promise.all(who.map((user) => claims.claim(couponId, user)));

  beforeAll(async () => {
    installation = await createInstallation();
    ledger = await installation.startLedger();
    claims = await installation.startClaims();
    coupons = await installation.startCoupons();
  });

  it('writes every claim once, with its number', async () => {
    await coupons.create(coupon('plain', 500));
    const outcomes = await claimAll('plain', users(700));
    expect(outcomes.filter((outcome) => outcome.status === 'claimed')).toHaveLength(500);
    expect(outcomes.filter((outcome) => outcome.status === 'refused' && outcome.code === 'sold_out')).toHaveLength(200);
    await outboxEmpty();
    const rows = await installation.claimRows('plain');
    expect(rows.map((row) => row.claimNo)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.status !== 'claimed') continue;
      expect(rows[outcome.receipt.claimNo - 1]?.userId).toBe(`user-${i}`);
    }
    const report = await coupons.audit();
    expect(report.invariants.filter((invariant) => invariant.violations > 0)).toEqual([]);
    expect(report).toMatchObject({ ok: true, claims: 500 });
  });

  it('raises the ceiling in MySQL and in Redis by what it has committed', async () => {
    await waitFor(
      async () => (await coupons.show('plain')).live?.ceiling === 500 + installation.settings.ledgerWindow,
      {
        what: 'the ceiling in Redis',
      },
    );
    const [rows] = await installation.mysql.query<RowDataPacket[]>(
      "SELECT ceiling FROM coupon WHERE coupon_id = 'plain'",
    );
    expect(Number(rows[0]?.['ceiling'])).toBe(500 + installation.settings.ledgerWindow);
  });

  it('recognises entries that come a second time', async () => {
    await coupons.create(coupon('twice', 10));
    const key = outboxKey(shardOf('twice', installation.settings.shardCount));
    const [first] = await claimAll('twice', ['ann']);
    await outboxEmpty();
    if (first?.status !== 'claimed') throw new Error('ann was refused');
    const at = String(first.receipt.claimedAt);
    await installation.redis.xadd(
      key,
      '*',
      'kind',
      'grant',
      'coupon',
      'twice',
      'no',
      '1',
      'user',
      'ann',
      'at',
      at,
      'epoch',
      '1',
    );
    await claimAll('twice', ['bob']);
    await outboxEmpty();
    expect(await installation.claimRows('twice')).toMatchObject([{ userId: 'ann' }, { userId: 'bob' }]);
  });

  it('takes over what a dead consumer was given', async () => {
    await coupons.create(coupon('orphaned', 10));
    await ledger.drain();
    await claimAll('orphaned', ['ann', 'bob']);
    const key = outboxKey(shardOf('orphaned', installation.settings.shardCount));
    await installation.redis.xreadgroup('GROUP', LEDGER_GROUP, 'dead', 'COUNT', 1, 'STREAMS', key, '>');
    const pending = (await installation.redis.xpending(key, LEDGER_GROUP)) as [number];
    expect(pending[0]).toBe(1);
    // As if it had died long ago: nobody waits for half a minute in a test.
    const [[id]] = (await installation.redis.xrange(key, '-', '+', 'COUNT', 1)) as [[string, string[]]];
    await installation.redis.call('XCLAIM', key, LEDGER_GROUP, 'dead', 0, id, 'IDLE', 600_000, 'JUSTID');
    ledger = await installation.startLedger();
    await outboxEmpty();
    expect(await installation.claimRows('orphaned')).toHaveLength(2);
  });

  it('puts an entry aside whose number belongs to another claim, says so, and goes on with its neighbours', async () => {
    await coupons.create(coupon('conflict', 10));
    await claimAll('conflict', ['ann']);
    await outboxEmpty();
    const key = outboxKey(shardOf('conflict', installation.settings.shardCount));
    await installation.redis.xadd(
      ...([
        key,
        '*',
        'kind',
        'grant',
        'coupon',
        'conflict',
        'no',
        '1',
        'user',
        'eve',
        'at',
        '1700000000000',
        'epoch',
        '1',
      ] as const),
    );
    await installation.redis.xadd(key, '*', 'kind', 'nonsense');
    await claimAll('conflict', ['bob']);
    await outboxEmpty();
    expect(await installation.claimRows('conflict')).toMatchObject([{ userId: 'ann' }, { userId: 'bob' }]);
    const { letters } = await coupons.deadLetters.list({ after: 0, limit: 10 });
    expect(letters.find(({ kind }) => kind === 'grant')).toMatchObject({
      ...{ couponId: 'conflict', claimNo: 1, userId: 'eve', reason: 'MySQL holds something else' },
    });
    expect(letters.map(({ kind }) => kind).sort()).toEqual(['grant', 'unreadable']);
    const report = await coupons.audit();
    expect(report.ok).toBe(false);
    expect(report.invariants.filter(({ violations }) => violations > 0).map(({ name }) => name)).toEqual(['I2']);
    await installation.mysql.query('DELETE FROM dead_letter');
  });

  it('rebuilds every shard after a restart of Redis, under new epochs, with all claims and receipts', async () => {
    await coupons.create(coupon('survivor', 50));
    const before = await claimAll('survivor', users(30));
    await installation.redisServer.kill();
    const refused = await claims.claim('survivor', 'late');
    expect(refused).toMatchObject({ status: 'refused' });
    await installation.redisServer.restart();
    await everyConnectionBack();
    const again = await waitFor(
      async () => {
        const outcomes = await claimAll('survivor', users(30));
        return outcomes.every((outcome) => outcome.status !== 'refused') && outcomes;
      },
      { what: 'the shard to open' },
    );
    const receipts = (outcomes: readonly unknown[]) => outcomes.map((o) => (o as { receipt?: unknown }).receipt);
    expect(receipts(again)).toEqual(receipts(before));
    const rest = await claimAll('survivor', users(40, 'new'));
    expect(rest.filter((outcome) => outcome.status === 'claimed')).toHaveLength(20);
    await outboxEmpty();
    expect(await installation.claimRows('survivor')).toHaveLength(50);
    expect((await coupons.audit()).ok).toBe(true);
    const [rows] = await installation.mysql.query<RowDataPacket[]>('SELECT MIN(epoch) AS lowest FROM shard');
    expect(Number(rows[0]?.['lowest'])).toBeGreaterThan(1);
  });

  it('rebuilds from the outbox what had not reached MySQL when Redis was restarted', async () => {
    await coupons.create(coupon('on-its-way', 5));
    await outboxEmpty();
    await ledger.drain();
    const before = await claimAll('on-its-way', users(3));
    expect(await installation.claimRows('on-its-way')).toHaveLength(0);
    await installation.redisServer.restart();
    ledger = await installation.startLedger();
    await everyConnectionBack();
    const after = await claimAll('on-its-way', users(8));
    const receipts = (outcomes: readonly unknown[]) => outcomes.map((o) => (o as { receipt?: unknown }).receipt);
    expect(receipts(after.slice(0, 3))).toEqual(receipts(before));
    expect(after.filter((outcome) => outcome.status === 'claimed')).toHaveLength(2);
    await outboxEmpty();
    expect(await installation.claimRows('on-its-way')).toHaveLength(5);
  });

  it.each(['fence', 'coupon', 'coupon_stock', 'claimed_user'])(
    'rebuilds a shard that has lost the key %s, and hands out nothing twice',
    async (kind) => {
      const couponId = `lost-${kind}`;
      await coupons.create(coupon(couponId, 3));
      const [first] = await claimAll(couponId, ['ann']);
      await outboxEmpty();
      const shard = shardOf(couponId, installation.settings.shardCount);
      const tag = fenceKey(shard).replace(':fence', '');
      await installation.redis.del(kind === 'fence' ? fenceKey(shard) : `${tag}:${kind}:${couponId}`);
      const again = await waitFor(
        async () => {
          const outcome = await claims.claim(couponId, 'ann');
          return outcome.status !== 'refused' && outcome;
        },
        { what: 'the shard to open' },
      );
      expect(again).toMatchObject({ status: 'already_claimed', receipt: (first as { receipt?: unknown }).receipt });
      const rest = await claimAll(couponId, ['bob', 'cid', 'dan']);
      expect(rest.filter((outcome) => outcome.status === 'claimed')).toHaveLength(2);
      await outboxEmpty();
      expect(await installation.claimRows(couponId)).toHaveLength(3);
    },
  );

  it('goes on by the text of the scripts when Redis has forgotten them', async () => {
    await coupons.create(coupon('flushed', 5));
    await installation.redis.script('FLUSH');
    expect(await claims.claim('flushed', 'ann')).toMatchObject({ status: 'claimed' });
    await outboxEmpty();
    expect(await installation.claimRows('flushed')).toHaveLength(1);
  });

  it('empties the outbox before it ends', async () => {
    await coupons.create(coupon('last', 2_000));
    await claimAll('last', users(2_000));
    await ledger.drain();
    expect(await installation.outboxEntries()).toBe(0);
    expect(await installation.claimRows('last')).toHaveLength(2_000);
  });
});
