// Returns through the claim service, the real ledger, rebuilds and the audit.
import { expect, it } from 'vitest';
import { couponKeys, outboxKey, shardOf } from '../../coupons/keys.js';
import { readReceipts } from '../../coupons/receipt.js';
import { readShard } from '../../coupons/shards.js';
import type { RowDataPacket } from '../../platform/mysql.js';
import { startClaiming } from '../harness/claiming.js';
import { users } from '../harness/crowd.js';
import { waitFor } from '../harness/wait-for.js';

const { installation, claims, coupons, claimAll, outboxEmpty, shardsAreBack, ...started } = await startClaiming();
let { ledger } = started;

const create = (couponId: string, total: number, returnable = true) =>
  coupons.create({ couponId, total, opensAt: null, closesAt: null, ack: 'redis', returnable });
const returnAll = (couponId: string, who: string[]) =>
  Promise.all(who.map((user) => claims.returnClaim(couponId, user)));
const granted = (outcomes: readonly { status: string }[]) =>
  outcomes.filter(({ status }) => status === 'claimed').length;
const everybodyAgrees = async () => {
  const { invariants } = await coupons.audit();
  expect(invariants.filter(({ violations }) => violations > 0)).toEqual([]);
};
const shardOfCoupon = (couponId: string) => shardOf(couponId, installation.settings.shardCount);
const epochOf = async (couponId: string) =>
  String((await readShard(installation.mysql, shardOfCoupon(couponId))).epoch);

it('gives every unit back once, to others, under new numbers, and the ledger has each mark', async () => {
  await create('plain', 20);
  expect(granted(await claimAll('plain', users(30)))).toBe(20);
  // Each asks twice at once, and once more later.
  const first = await returnAll('plain', [...users(12), ...users(12)]);
  expect(await returnAll('plain', users(12))).toEqual(first.slice(0, 12));
  expect(first.slice(12)).toEqual(first.slice(0, 12));
  // A unit is handed out again when MySQL has its return.
  await outboxEmpty();
  expect(granted(await claimAll('plain', users(20, 'new')))).toBe(12);
  expect(await claims.claim('plain', 'user-0')).toMatchObject({ code: 'returned' });
  expect(await claims.receipt('plain', 'user-0')).toMatchObject({ code: 'returned' });
  await outboxEmpty();
  const rows = (await coupons.claims('plain', { after: 0, limit: 100 })).claims;
  expect(rows.map(({ claimNo }) => claimNo)).toEqual(Array.from({ length: 32 }, (_, i) => i + 1));
  for (const outcome of first) {
    if (outcome.status === 'refused') throw new Error(outcome.code);
    expect(rows[outcome.receipt.claimNo - 1]?.returnedAt).toBe(outcome.receipt.returnedAt);
  }
  expect(rows.filter(({ returnedAt }) => returnedAt !== null)).toHaveLength(12);
  expect(await coupons.show('plain')).toMatchObject({
    live: { remaining: 0, claimed: 32, returned: 12 },
    ledger: { claimed: 32, returned: 12 },
  });
  await everybodyAgrees();
});

it('refuses where there is nothing to give back', async () => {
  await create('kept', 5, false);
  await claims.claim('kept', 'ann');
  expect(await claims.returnClaim('kept', 'ann')).toMatchObject({ code: 'not_returnable' });
  expect(await claims.returnClaim('plain', 'nobody')).toMatchObject({ code: 'not_claimed' });
  expect(await claims.returnClaim('none', 'ann')).toMatchObject({ code: 'unknown_coupon' });
});

it('keeps returns through a restart of Redis, also those that are still in the outbox', async () => {
  await create('survivor', 10);
  await claimAll('survivor', users(10));
  await returnAll('survivor', users(3));
  await outboxEmpty();
  await ledger.drain();
  // In one batch for the ledger to come: returns of older claims, a new claim and its return.
  const late = await returnAll('survivor', ['user-3', 'user-4']);
  await claims.claim('survivor', 'brief');
  await claims.returnClaim('survivor', 'brief');
  await everybodyAgrees();
  await installation.redisServer.restart();
  ledger = await installation.startLedger();
  await shardsAreBack('survivor');
  expect(await returnAll('survivor', ['user-3', 'user-4'])).toEqual(late);
  expect(await claims.claim('survivor', 'brief')).toMatchObject({ code: 'returned' });
  expect(granted(await claimAll('survivor', users(10, 'new')))).toBe(5);
  await outboxEmpty();
  await everybodyAgrees();
});

it('lowers stock by what was returned, when the change is settled by a rebuild', async () => {
  await create('lowered', 4);
  await claimAll('lowered', users(4));
  await returnAll('lowered', users(2));
  await outboxEmpty();
  await ledger.drain();
  const ask = (version: number, delta: number) =>
    installation.mysql.query('INSERT INTO coupon_stock_log VALUES (?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3))', [
      'lowered',
      version,
      delta,
      'less',
      'test',
      `less-${version}`,
      'pending',
    ]);
  await ask(2, -2);
  await installation.mysql.query("UPDATE coupon SET version = 2 WHERE coupon_id = 'lowered'");
  await installation.redisServer.restart();
  ledger = await installation.startLedger();
  await shardsAreBack('lowered');
  expect(await coupons.show('lowered')).toMatchObject({ total: 2, live: { remaining: 0, claimed: 4, returned: 2 } });
  await everybodyAgrees();
});

it('is audited while claims, returns and lowerings of stock go on', async () => {
  await create('busy', 40);
  const life = async (user: string): Promise<void> => {
    if ((await claims.claim('busy', user)).status === 'claimed') await claims.returnClaim('busy', user);
  };
  let over = false;
  const traffic = (async () => {
    for (let i = 0; !over; i++) await Promise.all(users(50, `round-${i}`).map(life));
  })();
  const operator = (async () => {
    for (let i = 0; !over; i++) {
      const change = { delta: i % 2 === 0 ? -15 : 15, reason: 'to and fro', idempotencyKey: `k${i}`, by: 'test' };
      await coupons.adjust('busy', change).catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'below_claimed' });
      });
    }
  })();
  try {
    for (let i = 0; i < 10; i++) await everybodyAgrees();
  } finally {
    over = true;
    await Promise.all([traffic, operator]);
  }
  await outboxEmpty();
  await everybodyAgrees();
});

it('an audit sees a return that the ledger does not have, and one that nobody made', async () => {
  await create('told', 5);
  await claimAll('told', ['ann', 'bob']);
  await claims.returnClaim('told', 'ann');
  await outboxEmpty();
  const violated = async () =>
    (await coupons.audit()).invariants.filter((i) => i.violations > 0).map(({ name }) => name);
  const mark = (sql: string) =>
    installation.mysql.query<RowDataPacket[]>(`UPDATE coupon_claim_log SET ${sql} WHERE coupon_id = 'told'`);
  const [rows] = await installation.mysql.query<RowDataPacket[]>(
    "SELECT returned_at FROM coupon_claim_log WHERE coupon_id = 'told' AND claim_no = 1",
  );
  await mark('returned_at = NULL');
  expect(await violated()).toEqual(['I5']);
  await mark('returned_at = UTC_TIMESTAMP(3)');
  expect(await violated()).toEqual(['I1', 'I6']);
  await mark('returned_at = NULL');
  await installation.mysql.query(
    "UPDATE coupon_claim_log SET returned_at = ? WHERE coupon_id = 'told' AND claim_no = 1",
    [rows[0]?.['returned_at']],
  );
  expect(await violated()).toEqual([]);
});

it('an entry that returns the claim of somebody else marks nothing', async () => {
  await create('forged', 5);
  await claimAll('forged', ['ann', 'bob']);
  await outboxEmpty();
  const key = outboxKey(shardOfCoupon('forged'));
  await installation.redis.xadd(
    ...([key, '*', 'kind', 'return', 'coupon', 'forged', 'no', '1', 'user', 'bob'] as const),
    ...(['at', '1700000000000', 'epoch', await epochOf('forged')] as const),
  );
  await claims.claim('forged', 'cid');
  await waitFor(async () => (await installation.claimRows('forged')).length === 3, { what: 'the neighbour' });
  const rows = (await coupons.claims('forged', { after: 0, limit: 10 })).claims;
  expect(rows.map(({ returnedAt }) => returnedAt)).toEqual([null, null, null]);
  expect((await coupons.deadLetters.list({ after: 0, limit: 10 })).letters).toMatchObject([
    { kind: 'return', claimNo: 1, userId: 'bob', reason: 'MySQL holds something else' },
  ]);
});

it('Redis and MySQL keep the same receipt of a returned claim, also one that an older version wrote', async () => {
  await outboxEmpty();
  const { claimedUser } = couponKeys(shardOfCoupon('plain'), 'plain');
  const [row] = (await coupons.claims('plain', { after: 0, limit: 1, userId: 'user-0' })).claims;
  const { claimNo, claimedAt, returnedAt } = row ?? {};
  const same = async () => {
    const [receipt] = await readReceipts(installation.redis, claimedUser, [{ userId: 'user-0' }]);
    expect(receipt).toEqual({ claimNo, claimedAt, returnedAt });
    const { invariants } = await coupons.audit();
    expect(invariants.filter(({ name, violations }) => name === 'I6' && violations > 0)).toEqual([]);
  };
  await same();
  await installation.redis.hset(claimedUser, 'user-0', `${claimNo}:${claimedAt}:${returnedAt}`);
  await same();
  expect(await claims.claim('plain', 'user-0')).toMatchObject({ code: 'returned', returnedAt });
});
