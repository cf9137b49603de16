// Receipts in Redis: what the scripts write and the audit reads, on a real Redis, and what older versions wrote.
import { beforeAll, beforeEach, expect, it } from 'vitest';
import { TIME_MAX_MS } from '../../coupons/definition.js';
import { LEDGER_GROUP } from '../../coupons/keys.js';
import { isSameClaim, isSameReceipt, readReceipts } from '../../coupons/receipt.js';
import { CODE } from '../../lua/codes.js';
import type { Redis } from '../../platform/redis.js';
import { ScriptShard, SCRIPT_SHARD_TOKEN, startScriptRedis } from '../harness/script-shard.js';

const NUMBER_MAX = 2 ** 32 - 1;

let redis: Redis;
let shard: ScriptShard;
const key = () => shard.keys('sale').claimedUser;
const read = async (...users: string[]) =>
  await readReceipts(
    redis,
    key(),
    users.map((userId) => ({ userId })),
  );

beforeAll(async () => {
  ({ redis } = await startScriptRedis({ appendfsync: 'no' }));
});
beforeEach(async () => {
  await redis.flushall();
  shard = new ScriptShard(redis);
  await shard.openEmpty();
  await shard.change('sale', { version: 1, delta: 9 });
});

it('are small enough for an allocation of 16 bytes, and say what was answered', async () => {
  const [ann] = await shard.claim('sale', 'ann', 'bob');
  const [, , , returnedAt] = await shard.returnClaim('sale', 'bob');
  // Two more bytes are Redis' own.
  expect(await redis.hstrlen(key(), 'ann')).toBeLessThanOrEqual(14);
  expect(await read('ann', 'bob', 'cid')).toEqual([
    { claimNo: 1, claimedAt: ann?.at, returnedAt: null },
    { claimNo: 2, claimedAt: ann?.at, returnedAt },
    null,
  ]);
});

it('hold the highest number and the last time there is, and come back from a rebuild as they were', async () => {
  const args = ['low', 1, 1, '', 'high', NUMBER_MAX, TIME_MAX_MS, TIME_MAX_MS];
  await shard.run('rebuild_begin', [shard.fence, shard.outboxKey], [2, SCRIPT_SHARD_TOKEN, LEDGER_GROUP]);
  await shard.run('load_receipts', [shard.fence, key()], [2, SCRIPT_SHARD_TOKEN, ...args]);
  expect(await read('low', 'high')).toEqual([
    { claimNo: 1, claimedAt: 1, returnedAt: null },
    { claimNo: NUMBER_MAX, claimedAt: TIME_MAX_MS, returnedAt: TIME_MAX_MS },
  ]);
});

it('of an older version are read as they are, and written anew when the claim is returned', async () => {
  const [ann, bob, cid] = await shard.claim('sale', 'ann', 'bob', 'cid');
  const at = ann?.at ?? 0;
  await redis.hset(key(), { ann: `1:${at}`, bob: `2:${at}:${at + 5}`, cid: `3:${at}` });
  expect(await shard.claim('sale', 'ann', 'bob', 'cid')).toEqual([
    { ...ann, code: CODE.ALREADY_CLAIMED },
    { ...bob, code: CODE.RETURNED, at: at + 5 },
    { ...cid, code: CODE.ALREADY_CLAIMED },
  ]);
  expect((await shard.receipt('sale', 'ann')).slice(0, 3)).toEqual([CODE.FOUND, 1, at]);
  const [, , , returnedAt] = await shard.returnClaim('sale', 'cid');
  expect(await read('ann', 'bob', 'cid')).toEqual([
    { claimNo: 1, claimedAt: at, returnedAt: null },
    { claimNo: 2, claimedAt: at, returnedAt: at + 5 },
    { claimNo: 3, claimedAt: at, returnedAt },
  ]);
});

it.each([
  ['a time alone', '\0'.repeat(8)],
  ['cut off in a time', '\0'.repeat(19)],
  ['empty', ''],
  ['text', '1:'],
])('that cannot be read are none: %s', async (_what, value) => {
  await shard.claim('sale', 'ann');
  await redis.hset(key(), 'ann', value);
  expect(await read('ann')).toEqual([undefined]);
  expect(await shard.receipt('sale', 'ann')).toEqual([CODE.FENCED]);
  expect(await shard.claimBatch([['sale', ['ann']]])).toBe(CODE.FENCED);
});

it('are compared by number, time and return', () => {
  const held = { claimNo: 1, claimedAt: 5, returnedAt: null };
  const returned = { ...held, returnedAt: 6 };
  expect([isSameReceipt(held, { ...held }), isSameReceipt(returned, held), isSameReceipt(held, returned)]).toEqual([
    true,
    false,
    false,
  ]);
  expect([isSameClaim(returned, held), isSameClaim({ ...held, claimNo: 2 }, held)]).toEqual([true, false]);
  for (const none of [null, undefined])
    expect([isSameClaim(none, held), isSameReceipt(none, held)]).toEqual([false, false]);
});
