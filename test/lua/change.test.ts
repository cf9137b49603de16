// lua/change.lua: versions are applied once, in order, and more or less stock is decided where the stock is.
import { beforeAll, beforeEach, expect, it } from 'vitest';
import { CODE } from '../../lua/codes.js';
import type { Redis } from '../../platform/redis.js';
import { ScriptShard, startScriptRedis } from '../harness/script-shard.js';

let redis: Redis;
let shard: ScriptShard;

beforeAll(async () => {
  ({ redis } = await startScriptRedis());
});
beforeEach(async () => {
  await redis.flushall();
  shard = new ScriptShard(redis);
  await shard.openEmpty();
});

it('creates at version 1, and a repeat changes nothing', async () => {
  expect(await shard.change('sale', { version: 1, delta: 10 })).toEqual([0, 10, 10]);
  await shard.claim('sale', 'ann');
  expect(await shard.change('sale', { version: 1, delta: 10 })).toEqual([0, 10, 9]);
  expect(await shard.outbox()).toHaveLength(2);
});

it('applies a version only on top of the one before', async () => {
  expect(await shard.change('sale', { version: 2, delta: 1 })).toEqual([CODE.VERSION_GAP, 0]);
  await shard.change('sale', { version: 1, delta: 10 });
  expect(await shard.change('sale', { version: 3, delta: 1 })).toEqual([CODE.VERSION_GAP, 1]);
  expect(await shard.change('sale', { version: 2, delta: 1 })).toEqual([0, 11, 11]);
  expect(await shard.change('sale', { version: 1, delta: 10 })).toEqual([CODE.VERSION_GAP, 2]);
  expect(await shard.stock('sale')).toBe(11);
});

it('refuses to take away what is claimed, counts that as the outcome of the version, and says it again', async () => {
  await shard.change('sale', { version: 1, delta: 3 });
  await shard.claim('sale', 'ann', 'bob');
  expect(await shard.change('sale', { version: 2, delta: -2 })).toEqual([CODE.BELOW_CLAIMED, 3, 1]);
  expect(await shard.change('sale', { version: 2, delta: -2 })).toEqual([CODE.BELOW_CLAIMED, 3, 1]);
  expect(await shard.change('sale', { version: 3, delta: -1 })).toEqual([0, 2, 0]);
  expect((await shard.outbox()).filter((entry) => entry.kind === 'change')).toMatchObject([
    { version: 1, outcome: 'applied' },
    { version: 2, outcome: 'below_claimed' },
    { version: 3, outcome: 'applied' },
  ]);
});
