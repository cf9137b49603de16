// lua/return.lua, every branch, on a real Redis.
import { beforeAll, beforeEach, expect, it } from 'vitest';
import { CODE } from '../../lua/codes.js';
import type { Redis } from '../../platform/redis.js';
import { ScriptShard, startScriptRedis } from '../harness/script-shard.js';

let redis: Redis;
let shard: ScriptShard;

beforeAll(async () => {
  ({ redis } = await startScriptRedis({ appendfsync: 'no' }));
});
beforeEach(async () => {
  await redis.flushall();
  shard = new ScriptShard(redis);
  await shard.openEmpty();
  await shard.change('sale', { version: 1, delta: 1 });
  await shard.claim('sale', 'ann');
});

/** As the ledger does it after a commit. */
async function commitReturns(): Promise<string[]> {
  const returns = (await entries('return')).map(({ id }) => id);
  await shard.readOutbox();
  expect(await shard.acknowledge([], { sale: { returns } })).toBe(returns.length);
  return returns;
}

const entries = async (kind: string) => (await shard.outbox()).filter((entry) => entry.kind === kind);

it('marks the receipt and tells the ledger, in one step', async () => {
  const [, no, claimedAt] = await shard.receipt('sale', 'ann');
  const first = await shard.returnClaim('sale', 'ann');
  expect(first.slice(0, 5)).toEqual([CODE.FOUND, 1, claimedAt, expect.any(Number), 'redis']);
  expect(await shard.returnClaim('sale', 'ann')).toEqual(first);
  expect(await entries('return')).toMatchObject([{ claimNo: no, userId: 'ann', at: first[3], epoch: 1 }]);
  expect(await shard.receipt('sale', 'ann')).toEqual([CODE.RETURNED, 1, first[3], 'redis']);
});

it('hands the unit out again when MySQL has committed the return, once', async () => {
  await shard.returnClaim('sale', 'ann');
  expect(await shard.stock('sale')).toBe(0);
  expect((await shard.claim('sale', 'bob'))[0]?.code).toBe(CODE.LEDGER_BEHIND);
  const returns = await commitReturns();
  expect(await shard.stock('sale')).toBe(1);
  expect(await shard.acknowledge([], { sale: { returns } })).toBe(0);
  expect(await shard.stock('sale')).toBe(1);
  expect((await shard.claim('sale', 'bob', 'cid')).map(({ code }) => code)).toEqual([CODE.CLAIMED, CODE.SOLD_OUT]);
});

it('never gives the user another one, and never the number', async () => {
  const [, , , returnedAt] = await shard.returnClaim('sale', 'ann');
  await commitReturns();
  expect(await shard.claim('sale', 'ann', 'bob', 'ann')).toEqual([
    { code: CODE.RETURNED, no: 1, at: returnedAt },
    { code: CODE.CLAIMED, no: 2, at: expect.any(Number) as number },
    { code: CODE.RETURNED, no: 1, at: returnedAt },
  ]);
});

it('leaves to a lowering of stock what is left, whichever comes first', async () => {
  expect(await shard.change('sale', { version: 2, delta: -1 })).toEqual([CODE.BELOW_CLAIMED, 1, 0]);
  await shard.returnClaim('sale', 'ann');
  await commitReturns();
  expect(await shard.change('sale', { version: 3, delta: -1 })).toEqual([0, 0, 0]);
  await shard.returnClaim('sale', 'ann');
  expect(await shard.stock('sale')).toBe(0);
  expect((await shard.claim('sale', 'bob'))[0]?.code).toBe(CODE.SOLD_OUT);
});

it('is possible while the coupon is paused or over', async () => {
  await shard.change('sale', { version: 2, paused: true, closesAt: 1 });
  expect((await shard.returnClaim('sale', 'ann'))[0]).toBe(CODE.FOUND);
});

it('is refused without a claim, without a coupon, and where the coupon is not returnable', async () => {
  await shard.change('kept', { version: 1, delta: 1, returnable: false });
  await shard.claim('kept', 'ann');
  const before = await redis.xlen(shard.outboxKey);
  expect(await shard.returnClaim('sale', 'bob')).toEqual([CODE.NOT_CLAIMED]);
  expect(await shard.returnClaim('none', 'ann')).toEqual([CODE.UNKNOWN_COUPON]);
  expect(await shard.returnClaim('kept', 'ann')).toEqual([CODE.NOT_RETURNABLE]);
  expect(await shard.stock('kept')).toBe(0);
  expect(await redis.xlen(shard.outboxKey)).toBe(before);
});

it.each([
  ['under another epoch', (): unknown => (shard.epoch = 2)],
  ['when a key was lost', (): unknown => redis.del(shard.keys('sale').stock)],
  ['when a receipt cannot be read', (): unknown => redis.hset(shard.keys('sale').claimedUser, 'ann', 'nonsense')],
  ['when a script died half way', (): unknown => redis.hset(shard.fence, 'torn', '1')],
])('does nothing %s', async (_when, disturb) => {
  await disturb();
  const before = await redis.xlen(shard.outboxKey);
  expect(await shard.returnClaim('sale', 'ann')).toEqual([CODE.FENCED]);
  expect(await redis.xlen(shard.outboxKey)).toBe(before);
});
