// Archived coupons: what leaves Redis and what stays, who still gets which answer, and a crash between any two steps.
import { beforeAll, describe, expect, it } from 'vitest';
import { archiveCoupon, readArchivable } from '../../coupons/archive.js';
import type { ChangeContext } from '../../coupons/changes.js';
import type { CouponsService } from '../../coupons/coupons.js';
import { couponKeys, shardOf } from '../../coupons/keys.js';
import { Shards } from '../../coupons/shards.js';
import { loadScripts } from '../../lua/scripts.js';
import type { AwaitedClaims } from '../harness/awaited-claims.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

let installation: Installation;
let claims: AwaitedClaims;
let coupons: CouponsService;
let context: ChangeContext;

beforeAll(async () => {
  installation = await createInstallation();
  await installation.startLedger();
  claims = await installation.startClaims();
  coupons = await installation.startCoupons();
  const { mysql, redis, settings } = installation;
  context = { mysql, redis, scripts: loadScripts(), shards: new Shards(mysql, settings.shardCount) };
});

const outboxEmpty = () =>
  waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
const keysOf = (couponId: string) => couponKeys(shardOf(couponId, installation.settings.shardCount), couponId);
const stay = async (couponId: string) => {
  const { coupon, stock, claimedUser } = keysOf(couponId);
  return await Promise.all([coupon, stock, claimedUser].map((key) => installation.redis.exists(key)));
};
const GONE = [1, 0, 0];
const THERE = [1, 1, 1];

/** Three claims, one of them given back, and over. */
async function createEnded(couponId: string): Promise<Record<'ann' | 'bob' | 'cid', unknown>> {
  await coupons.create({ couponId, total: 5, opensAt: null, closesAt: null, ack: 'redis', returnable: true });
  const [ann, bob] = [await claims.claim(couponId, 'ann'), await claims.claim(couponId, 'bob')];
  await claims.claim(couponId, 'cid');
  const cid = await claims.returnClaim(couponId, 'cid');
  await coupons.setWindow(couponId, { closesAt: Date.now() - 1 });
  await outboxEmpty();
  return { ann, bob, cid };
}
const receiptOf = (outcome: unknown) => (outcome as { receipt?: unknown }).receipt;

async function expectArchived(couponId: string, before: Record<'ann' | 'bob' | 'cid', unknown>): Promise<void> {
  const again = { status: 'already_claimed', receipt: receiptOf(before.ann) };
  expect(await claims.claim(couponId, 'ann')).toEqual(again);
  expect(await claims.receipt(couponId, 'ann')).toEqual(again);
  expect(await claims.claimAll(couponId, ['bob', 'new'])).toMatchObject([
    { receipt: receiptOf(before.bob) },
    { code: 'ended' },
  ]);
  expect(await claims.receipt(couponId, 'new')).toMatchObject({ code: 'not_claimed' });
  expect(await claims.claim(couponId, 'cid')).toMatchObject({ code: 'returned' });
  expect(await claims.returnClaim(couponId, 'cid')).toEqual(before.cid);
  expect(await claims.returnClaim(couponId, 'ann')).toMatchObject({ code: 'archived' });
  expect(await claims.returnClaim(couponId, 'new')).toMatchObject({ code: 'not_claimed' });
  expect(await claims.coupon(couponId)).toMatchObject({ state: 'ended', total: 5, remaining: 3 });
  const change = { delta: 1, reason: 'more', idempotencyKey: 'more', by: 'test' };
  await expect(coupons.adjust(couponId, change)).rejects.toMatchObject({ code: 'archived' });
  await expect(coupons.setWindow(couponId, { closesAt: null })).rejects.toMatchObject({ code: 'archived' });
  expect(await coupons.show(couponId)).toMatchObject({
    archivedAt: expect.any(Number) as number,
    live: { state: 'ended', remaining: 3, claimed: 3, returned: 1 },
    ledger: { claimed: 3, returned: 1 },
  });
  const { invariants } = await coupons.audit();
  expect(invariants.filter(({ violations }) => violations > 0)).toEqual([]);
}

it('leave stock and receipts behind; late users get their receipts, new ones hear that it is over', async () => {
  const before = await createEnded('plain');
  expect(await archiveCoupon(context, 'plain')).toBe(true);
  expect(await stay('plain')).toEqual(GONE);
  await expectArchived('plain', before);
  expect(await archiveCoupon(context, 'plain')).toBe(false);
});

it('stay archived through a rebuild', async () => {
  const before = await createEnded('rebuilt');
  await archiveCoupon(context, 'rebuilt');
  await installation.redisServer.restart();
  await waitFor(() => installation.redis.status === 'ready', { what: 'Redis' });
  await waitFor(async () => (await coupons.show('rebuilt')).live !== null, { what: 'the shard' });
  await waitFor(async () => 'total' in (await claims.coupon('rebuilt')), { what: 'the claim service' });
  expect(await stay('rebuilt')).toEqual(GONE);
  await expectArchived('rebuilt', before);
});

it('are found when they have ended long enough ago, and nothing of them is put aside', async () => {
  await createEnded('recent');
  expect(await readArchivable(context, 3_600_000, 100)).not.toContain('recent');
  expect(await readArchivable(context, 0, 100)).toContain('recent');
  await installation.mysql.query(
    `INSERT INTO dead_letter (shard, entry_id, fingerprint, kind, coupon_id, fields, reason, status, attempts, created_at)
     VALUES (0, '1-1', REPEAT('x', 32), 'grant', 'recent', '[]', 'test', 'parked', 5, UTC_TIMESTAMP(3))`,
  );
  expect(await readArchivable(context, 0, 100)).not.toContain('recent');
  await installation.mysql.query('DELETE FROM dead_letter');
});

describe('a coupon is not archived', () => {
  it('while MySQL and Redis do not hold the same', async () => {
    await createEnded('differs');
    await installation.mysql.query("DELETE FROM coupon_claim_log WHERE coupon_id = 'differs' AND claim_no = 3");
    expect(await archiveCoupon(context, 'differs')).toBe(false);
    await installation.mysql.query("UPDATE coupon_claim_log SET claimed_at = '2020-01-01' WHERE coupon_id = 'differs'");
    expect(await archiveCoupon(context, 'differs')).toBe(false);
    expect(await stay('differs')).toEqual(THERE);
    // Nothing forbids a change.
    await coupons.setWindow('differs', { closesAt: null });
    await coupons.pause('differs');
    await coupons.reconcile();
    await installation.mysql.query("DELETE FROM coupon_claim_log WHERE coupon_id = 'differs'");
    await coupons.reconcile();
    await outboxEmpty();
  });

  it('before its end by the clock of Redis', async () => {
    await coupons.create({ couponId: 'open', total: 5, opensAt: null, closesAt: null, ack: 'redis', returnable: true });
    expect(await archiveCoupon(context, 'open')).toBe(false);
    expect(await claims.claim('open', 'ann')).toMatchObject({ status: 'claimed' });
  });
});

describe('a crash', () => {
  /** `context` whose calls to the databases fail after the first `calls`. */
  function dying(calls: number): ChangeContext {
    let left = calls;
    const guard = <T extends object>(target: T): T =>
      new Proxy(target, {
        get: (object, name) => {
          const value: unknown = Reflect.get(object, name);
          if (typeof value !== 'function') return value;
          return (...args: unknown[]) => {
            if (['query', 'withConnection', 'evalsha', 'hmgetBuffer'].includes(String(name)) && left-- <= 0)
              throw new Error('the process is dead');
            return (value as (...args: unknown[]) => unknown).apply(object, args);
          };
        },
      });
    return { ...context, mysql: guard(context.mysql), redis: guard(context.redis) };
  }

  it('after any call leaves a coupon that is served rightly, and the next run archives it', async () => {
    let died = 0;
    for (let calls = 0; ; calls++) {
      const couponId = `crash-${calls}`;
      const before = await createEnded(couponId);
      const outcome = await archiveCoupon(dying(calls), couponId).catch((error: unknown) => error);
      if (outcome === true) break;
      expect(outcome).toMatchObject({ message: 'the process is dead' });
      died++;
      expect(await claims.claim(couponId, 'ann')).toEqual({
        status: 'already_claimed',
        receipt: receiptOf(before.ann),
      });
      expect(await claims.claim(couponId, 'new')).toMatchObject({ code: 'ended' });
      expect(await claims.returnClaim(couponId, 'cid')).toEqual(before.cid);
      expect(await archiveCoupon(context, couponId)).toBe(true);
      expect(await stay(couponId)).toEqual(GONE);
      await expectArchived(couponId, before);
    }
    expect(died).toBeGreaterThan(5);
  });

  it('between mark and switch, and a claim given back then, archives the coupon as it is by then', async () => {
    const before = await createEnded('late');
    await installation.mysql.query("UPDATE coupon SET archive_state = 'begun' WHERE coupon_id = 'late'");
    const returned = await claims.returnClaim('late', 'bob');
    expect(returned).toMatchObject({ status: 'returned' });
    await outboxEmpty();
    expect(await archiveCoupon(context, 'late')).toBe(true);
    expect(await claims.returnClaim('late', 'bob')).toEqual(returned);
    expect(await claims.claim('late', 'ann')).toMatchObject({ receipt: receiptOf(before.ann) });
  });
});
