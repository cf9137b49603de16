// Taking out of the outbox what is committed, with the progress of more coupons than one call takes. A real Redis and the real
// scripts; what MySQL has committed is what the test says.
import { beforeEach, expect, it } from 'vitest';
import type { Scripts } from '../../lua/scripts.js';
import type { CouponProgress } from '../../workers/ledger/acknowledge.js';
import { acknowledge } from '../../workers/ledger/acknowledge.js';
import { failingAt } from '../harness/failing-script.js';
import { SCRIPT_SHARD, ScriptShard, startScriptRedis } from '../harness/script-shard.js';

const COUPONS = Array.from({ length: 2_001 }, (_, i) => `coupon-${String(i).padStart(4, '0')}`);
const [FIRST, LAST] = ['coupon-0000', 'coupon-2000'];
/** Claims the first and the last coupon, and gives both back. */
const GIVING_BACK = 'ann';
const CEILING = 50;
const { redis } = await startScriptRedis({ appendfsync: 'no' });
let shard: ScriptShard;
let ids: string[];
let coupons: Map<string, CouponProgress>;

beforeEach(async () => {
  await redis.flushall();
  shard = new ScriptShard(redis);
  await shard.openEmpty();
  for (const couponId of COUPONS) await shard.change(couponId, { version: 1, delta: 2, ceiling: 10 });
  coupons = new Map(COUPONS.map((couponId) => [couponId, { ceiling: CEILING, returns: [] as string[] }]));
  for (const couponId of [FIRST, LAST]) {
    await shard.claim(couponId, GIVING_BACK);
    await shard.returnClaim(couponId, GIVING_BACK);
  }
  const entries = await shard.outbox();
  for (const { kind, couponId, id } of entries) if (kind === 'return') coupons.get(couponId)?.returns.push(id);
  ids = entries.filter(({ kind }) => kind !== 'return').map(({ id }) => id);
  await shard.readOutbox();
});

const acknowledgeAll = (scripts: Scripts = shard.scripts, epoch = 1) =>
  acknowledge(redis, scripts, { shard: SCRIPT_SHARD, epoch, state: 'open', ids, coupons });

async function ceilings(): Promise<number[]> {
  return await Promise.all(
    COUPONS.map(async (couponId) => Number(await redis.hget(shard.keys(couponId).coupon, 'ceiling'))),
  );
}

/** The scripts, of which this one fails before it does anything when it is asked for the n-th time. */
function failingTheTime(n: number): Scripts {
  const { acknowledge: real } = shard.scripts;
  let asked = 0;
  return {
    ...shard.scripts,
    get acknowledge() {
      return ++asked === n ? failingAt(real, 1) : real;
    },
  };
}

/** How many keys each call of a script has while `work` is done. */
async function keysOfCalls(work: () => Promise<void>): Promise<number[]> {
  // Makes the script known.
  await shard.acknowledge([]);
  // Redis notes what the scripts do, too.
  await redis.config('SET', 'slowlog-max-len', '1000000');
  await redis.config('SET', 'slowlog-log-slower-than', '0');
  await redis.call('SLOWLOG', 'RESET');
  await work();
  await redis.config('SET', 'slowlog-log-slower-than', '-1');
  const calls = (await redis.call('SLOWLOG', 'GET', '-1')) as [unknown, unknown, unknown, string[]][];
  return calls.flatMap(([, , , [name, , keys]]) => (name === 'evalsha' ? [Number(keys)] : [])).reverse();
}

it('tells Redis of no more coupons than it can in a few milliseconds, call by call', async () => {
  const keys = await keysOfCalls(async () => {
    expect(await acknowledgeAll()).toBe(true);
  });
  // Fence and outbox, and two of each coupon.
  expect(keys).toEqual([2 + 2_000, 2 + 2_000, 2 + 2]);
  expect(await shard.outbox()).toEqual([]);
  expect(new Set(await ceilings())).toEqual(new Set([CEILING]));
  for (const couponId of [FIRST, LAST]) expect(await shard.stock(couponId)).toBe(2);
});

it.each([1, 2, 3])(
  'that is cut off before its call %i loses nothing, and is completed when it is repeated',
  async (n) => {
    await expect(acknowledgeAll(failingTheTime(n))).rejects.toThrow('planted');
    // Until the last call is done, every entry is there that would have the ceilings told again.
    const left = new Set((await shard.outbox()).map(({ id }) => id));
    expect(ids.filter((id) => !left.has(id))).toEqual([]);
    const told = Math.min((n - 1) * 1_000, COUPONS.length);
    expect(await ceilings()).toEqual(COUPONS.map((_, i) => (i < told ? CEILING : 10)));

    expect(await acknowledgeAll()).toBe(true);
    expect(await acknowledgeAll()).toBe(true);
    expect(await shard.outbox()).toEqual([]);
    expect(new Set(await ceilings())).toEqual(new Set([CEILING]));
    for (const couponId of [FIRST, LAST]) expect(await shard.stock(couponId)).toBe(2);
  },
);

it('is refused when another epoch has come meanwhile', async () => {
  expect(await acknowledgeAll(shard.scripts, 2)).toBe(false);
  expect(new Set(await ceilings())).toEqual(new Set([10]));
});
