// A script that ended half way in a shard that is open: the ledger finds it closed and rebuilds it, and what was begun is whole
// or gone. Every call of the scripts that users and operators cause, each on a shard of its own, on a real Redis and MariaDB.
import { expect, it } from 'vitest';
import { couponKeys, fenceKey, outboxKey, shardOf } from '../../coupons/keys.js';
import type { ScriptName } from '../../lua/scripts.js';
import { loadScripts } from '../../lua/scripts.js';
import { failingAt } from '../harness/failing-script.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

const SHARDS = 64;
const EPOCH = 1;
const scripts = loadScripts();

it('is mended by a rebuild, with nothing lost and nothing doubled', async () => {
  const installation = await createInstallation({ SHARD_COUNT: String(SHARDS) });
  const { redis, mysql } = installation;
  await installation.startLedger();
  const [claims, coupons] = [await installation.startClaims(), await installation.startCoupons()];
  let shards = 0;
  /** A new coupon on the next shard. */
  const create = async (name: string): Promise<string> => {
    const shard = shards++;
    let couponId = name;
    for (let i = 0; shardOf(couponId, SHARDS) !== shard; i++) couponId = `${name}-${i}`;
    await coupons.create({ couponId, total: 3, opensAt: null, closesAt: null, ack: 'redis', returnable: true });
    return couponId;
  };
  /** False when the script has fewer calls. */
  const fails = async (
    script: ScriptName,
    at: number,
    couponId: string,
    args: (string | number)[],
  ): Promise<boolean> => {
    const shard = shardOf(couponId, SHARDS);
    const { coupon, stock, claimedUser } = couponKeys(shard, couponId);
    const keys = [fenceKey(shard), outboxKey(shard), coupon, stock, claimedUser];
    const run = redis.eval(failingAt(scripts[script], at).source, keys.length, ...keys, EPOCH, couponId, ...args);
    return await run.then(
      () => false,
      (error: unknown) => {
        expect(String(error)).toContain('planted');
        return true;
      },
    );
  };
  const settled = async (couponId: string, user: string): Promise<number | string> =>
    await waitFor(
      async () => {
        const outcome = await claims.claim(couponId, user);
        if (outcome.status !== 'refused') return outcome.receipt.claimNo;
        return !['fenced', 'ledger_behind'].includes(outcome.code) && outcome.code;
      },
      { what: `an answer of ${couponId}` },
    );
  const [claimed, returned, changed]: [string[], string[], string[]] = [[], [], []];

  for (let at = 1, more = true; more; at++) {
    const couponId = await create('claimed');
    more = await fails('claim', at, couponId, [1, 'ann']);
    claimed.push(couponId);
  }
  for (let at = 1, more = true; more; at++) {
    const couponId = await create('returned');
    expect(await settled(couponId, 'ann')).toBe(1);
    more = await fails('return', at, couponId, ['ann']);
    returned.push(couponId);
  }
  // More than it has calls: the job that finishes changes may be faster now and then, and leave it fewer.
  let failed = 0;
  for (let at = 1; at <= 20; at++) {
    const couponId = await create('changed');
    await mysql.query('UPDATE coupon SET version = 2 WHERE coupon_id = ?', [couponId]);
    await mysql.query(
      "INSERT INTO coupon_stock_log VALUES (?, 2, 2, 'more', 'test', 'more', 'pending', UTC_TIMESTAMP(3))",
      [couponId],
    );
    if (await fails('change', at, couponId, [2, 2, 0, '', '', 'redis', 1_000, 1])) failed++;
    changed.push(couponId);
  }
  // Each had calls before, between and after its writes.
  expect(Math.min(claimed.length, returned.length, failed)).toBeGreaterThan(10);

  for (const couponId of claimed) {
    const numbers = [];
    for (const user of ['ann', 'bob', 'cid', 'dan']) numbers.push(await settled(couponId, user));
    expect([couponId, ...numbers]).toEqual([couponId, 1, 2, 3, 'sold_out']);
  }
  for (const couponId of returned) {
    await waitFor(async () => (await claims.returnClaim(couponId, 'ann')).status === 'returned', {
      what: `the return of ${couponId}`,
    });
    const numbers = [];
    for (const user of ['ann', 'bob', 'cid', 'dan', 'eve']) numbers.push(await settled(couponId, user));
    expect([couponId, ...numbers]).toEqual([couponId, 'returned', 2, 3, 4, 'sold_out']);
  }
  for (const couponId of changed) {
    await waitFor(() => coupons.finish(couponId).then(() => true), { what: `the change of ${couponId}` });
    const remaining = async () => (await coupons.show(couponId)).live?.remaining;
    expect(await waitFor(remaining, { what: `${couponId} to be open` })).toBe(5);
  }
  await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'an empty outbox' });
  expect((await coupons.audit()).invariants.filter(({ violations }) => violations > 0)).toEqual([]);
});
