// lua/claim.lua, every branch, on a real Redis.
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RawEntry } from '../../coupons/outbox.js';
import { parseEntry } from '../../coupons/outbox.js';
import { CODE } from '../../lua/codes.js';
import { loadScripts } from '../../lua/scripts.js';
import type { Redis } from '../../platform/redis.js';
import { whenRedisReady } from '../../platform/redis.js';
import { users } from '../harness/crowd.js';
import { atTime } from '../harness/planted-time.js';
import type { ClaimAnswer } from '../harness/script-shard.js';
import { ScriptShard, startScriptRedis } from '../harness/script-shard.js';
import type { TestServer } from '../harness/servers.js';

let server: TestServer;
let redis: Redis;
let shard: ScriptShard;

beforeAll(async () => {
  ({ server, redis } = await startScriptRedis());
});
beforeEach(async () => {
  await redis.flushall();
  shard = new ScriptShard(redis);
  await shard.openEmpty();
});

const codes = (answers: readonly { code: number }[]) => answers.map((answer) => answer.code);

describe('a claim', () => {
  it('gets the next number, the time, a receipt and an outbox entry, all in one step', async () => {
    await shard.change('sale', { version: 1, delta: 2 });
    const [ann, bob] = await shard.claim('sale', 'ann', 'bob');
    expect([ann?.no, bob?.no]).toEqual([1, 2]);
    expect(ann?.at).toBeGreaterThan(1_700_000_000_000);
    expect((await shard.receipt('sale', 'ann')).slice(0, 4)).toEqual([CODE.FOUND, 1, ann?.at, 'redis']);
    expect(await shard.stock('sale')).toBe(0);
    const grants = (await shard.outbox()).filter((entry) => entry.kind === 'grant');
    expect(grants).toMatchObject([
      { couponId: 'sale', claimNo: 1, userId: 'ann', at: ann?.at, epoch: 1 },
      { couponId: 'sale', claimNo: 2, userId: 'bob', at: bob?.at, epoch: 1 },
    ]);
  });

  it('is answered with the first receipt when the user asks again, also twice in one batch', async () => {
    await shard.change('sale', { version: 1, delta: 5 });
    const [first, same] = await shard.claim('sale', 'ann', 'ann');
    const [again] = await shard.claim('sale', 'ann');
    expect(codes([first, same, again].filter((a) => a !== undefined))).toEqual([
      CODE.CLAIMED,
      CODE.ALREADY_CLAIMED,
      CODE.ALREADY_CLAIMED,
    ]);
    expect([same?.no, again?.no]).toEqual([1, 1]);
    expect([same?.at, again?.at]).toEqual([first?.at, first?.at]);
    expect(await shard.stock('sale')).toBe(4);
    expect((await shard.outbox()).filter((entry) => entry.kind === 'grant')).toHaveLength(1);
  });

  it('is refused as sold out when nothing is left, and only then', async () => {
    await shard.change('sale', { version: 1, delta: 2 });
    expect(codes(await shard.claim('sale', 'a', 'b', 'c'))).toEqual([CODE.CLAIMED, CODE.CLAIMED, CODE.SOLD_OUT]);
    await shard.change('sale', { version: 2, delta: 1 });
    expect(codes(await shard.claim('sale', 'c', 'd'))).toEqual([CODE.CLAIMED, CODE.SOLD_OUT]);
  });

  it('keeps user ids apart that differ in one byte', async () => {
    await shard.change('sale', { version: 1, delta: 9 });
    const users = ['a', 'A', 'à', 'a\u0300', 'a ', '🦬'];
    expect((await shard.claim('sale', ...users)).map((answer) => answer.no)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('goes to its own coupon when a batch holds several', async () => {
    await shard.change('sale', { version: 1, delta: 1 });
    await shard.change('SALE', { version: 1, delta: 1 });
    const answers = await shard.claimBatch([
      ['sale', ['ann', 'bob']],
      ['SALE', ['bob']],
      ['none', ['ann']],
    ]);
    expect(answers).toMatchObject([
      { code: CODE.CLAIMED, no: 1 },
      { code: CODE.SOLD_OUT },
      { code: CODE.CLAIMED, no: 1 },
      { code: CODE.UNKNOWN_COUPON },
    ]);
  });
});

describe('what one call grants', () => {
  const entries = async () => {
    const raw = (await redis.xrange(shard.outboxKey, '-', '+')) as RawEntry[];
    return raw.filter(([, fields]) => fields?.[1] !== 'change');
  };

  it('is one entry of the outbox, whatever its coupons, that people can read', async () => {
    await shard.change('sale', { version: 1, delta: 3 });
    await shard.change('SALE', { version: 1, delta: 1 });
    await shard.change('gone', { version: 1, delta: 0 });
    await shard.claim('sale', 'ann');
    const [, ann, zoe] = (await shard.claimBatch([
      ['gone', ['zoe']],
      ['sale', ['ann', 'zoe', 'bob', 'cid']],
      ['SALE', ['zoe']],
    ])) as ClaimAnswer[];
    const [first, second, ...others] = await entries();
    expect(first?.[1]?.slice(-6)).toEqual(['coupon', 'sale', 'numbers', '1-1', 'users', 'ann']);
    expect(second?.[1]).toEqual([
      ...['kind', 'grants', 'at', String(zoe?.at), 'epoch', '1'],
      ...['coupon', 'sale', 'numbers', '2-3', 'users', 'zoe\nbob'],
      ...['coupon', 'SALE', 'numbers', '1-1', 'users', 'zoe'],
    ]);
    expect([ann?.code, zoe?.code]).toEqual([CODE.ALREADY_CLAIMED, CODE.CLAIMED]);
    expect(others).toEqual([]);
  });

  it('is several entries when it is much, of at most 100 claims, with every claim once and in order', async () => {
    const crowd = users(280);
    await shard.change('sale', { version: 1, delta: 250 });
    await shard.change('other', { version: 1, delta: 50 });
    await shard.claimBatch([
      ['sale', crowd.slice(0, 250)],
      ['other', crowd.slice(250)],
    ]);
    expect((await entries()).map((raw) => parseEntry(raw).length)).toEqual([100, 100, 80]);
    const grants = (await shard.outbox()).filter((entry) => entry.kind === 'grant');
    expect(grants.map(({ couponId, claimNo, userId }) => [couponId, claimNo, userId])).toEqual(
      crowd.map((userId, i) => (i < 250 ? ['sale', i + 1, userId] : ['other', i - 249, userId])),
    );
  });

  it('is no entry when it is nothing', async () => {
    await shard.change('sale', { version: 1, delta: 1 });
    await shard.claim('sale', 'ann');
    const before = await entries();
    await shard.claim('sale', 'ann', 'bob');
    expect(await entries()).toEqual(before);
  });
});

describe('membership comes before state', () => {
  it.each([
    ['sold out', { version: 2, delta: -1 }, CODE.SOLD_OUT],
    ['paused', { version: 2, paused: true }, CODE.PAUSED],
    ['ended', { version: 2, closesAt: 1 }, CODE.ENDED],
    ['not open any more', { version: 2, opensAt: 9_000_000_000_000 }, CODE.NOT_OPEN],
  ])('a winner who asks again gets the receipt when the coupon is %s', async (_name, change, code) => {
    await shard.change('sale', { version: 1, delta: 2 });
    const [first] = await shard.claim('sale', 'ann');
    await shard.change('sale', change);
    expect(await shard.claim('sale', 'ann', 'bob')).toEqual([
      { code: CODE.ALREADY_CLAIMED, no: 1, at: first?.at },
      { code, no: 0, at: 0 },
    ]);
  });

  it('a winner who asks again at the ceiling gets the receipt', async () => {
    await shard.change('sale', { version: 1, delta: 5, ceiling: 1 });
    await shard.claim('sale', 'ann');
    expect(codes(await shard.claim('sale', 'ann', 'bob'))).toEqual([CODE.ALREADY_CLAIMED, CODE.LEDGER_BEHIND]);
  });
});

describe('the ceiling', () => {
  it('holds claims back, never as sold out, until the ledger raises it', async () => {
    await shard.change('sale', { version: 1, delta: 3, ceiling: 2 });
    expect(codes(await shard.claim('sale', 'a', 'b', 'c'))).toEqual([CODE.CLAIMED, CODE.CLAIMED, CODE.LEDGER_BEHIND]);
    const ids = await shard.readOutbox();
    expect(await shard.acknowledge(ids, { sale: { ceiling: 4 } })).toBe(ids.length);
    expect(codes(await shard.claim('sale', 'c', 'd'))).toEqual([CODE.CLAIMED, CODE.SOLD_OUT]);
  });

  it('is never lowered', async () => {
    await shard.change('sale', { version: 1, delta: 3, ceiling: 2 });
    await shard.acknowledge([], { sale: { ceiling: 1 } });
    expect(await redis.hget(shard.keys('sale').coupon, 'ceiling')).toBe('2');
  });
});

describe('the clock of the shard', () => {
  it('never runs backwards: a time seen once decides, whatever Redis says now', async () => {
    const future = Date.now() + 3_600_000;
    await redis.hset(shard.fence, 'clock', future);
    await shard.change('sale', { version: 1, delta: 1, opensAt: future - 1 });
    expect(await shard.claim('sale', 'ann')).toMatchObject([{ code: CODE.CLAIMED, at: future }]);
  });

  it('opens and closes a coupon by itself', async () => {
    const hour = 3_600_000;
    const opensAt = Date.now() + hour;
    const closesAt = opensAt + hour;
    await shard.change('sale', { version: 1, delta: 9, opensAt, closesAt });
    const at = async (clock: number, user: string) => {
      await redis.hset(shard.fence, 'clock', clock);
      return (await shard.claim('sale', user))[0]?.code;
    };
    expect(await at(opensAt - 1, 'ann')).toBe(CODE.NOT_OPEN);
    expect(await at(opensAt, 'ann')).toBe(CODE.CLAIMED);
    expect(await at(closesAt - 1, 'bob')).toBe(CODE.CLAIMED);
    expect(await at(closesAt, 'cid')).toBe(CODE.ENDED);
  });

  it('keeps an edge that somebody was told of passed, though nothing was granted and Redis is set back', async () => {
    const opensAt = Date.now() + 3_600_000;
    const closesAt = opensAt + 3_600_000;
    await shard.change('sale', { version: 1, delta: 9, opensAt, closesAt });
    await shard.change('none left', { version: 1, opensAt, closesAt });
    const told = async (couponId: string, time: number) => {
      shard.scripts = { ...shard.scripts, claim: atTime(loadScripts().claim, time) };
      return (await shard.claim(couponId, 'ann'))[0]?.code;
    };
    expect(await told('none left', opensAt - 1)).toBe(CODE.NOT_OPEN);
    expect(await told('none left', opensAt)).toBe(CODE.SOLD_OUT);
    expect(await told('none left', opensAt - 1)).toBe(CODE.SOLD_OUT);
    expect(await told('sale', closesAt)).toBe(CODE.ENDED);
    expect(await told('sale', closesAt - 1)).toBe(CODE.ENDED);
  });
});

describe('a call that refuses everybody', () => {
  /** Everything that Redis was asked to write, counted by itself. */
  const writes = async () => Number(/rdb_changes_since_last_save:(\d+)/.exec(await redis.info('persistence'))?.[1]);

  const ownKeys = (couponId: string): string[] => {
    const { coupon, stock, claimedUser } = shard.keys(couponId);
    return [coupon, stock, claimedUser];
  };

  it('writes nothing, and says nothing of the ledger', async () => {
    await shard.change('sale', { version: 1, delta: 1, closesAt: Date.now() + 3_600_000 });
    await shard.change('paused', { version: 1, delta: 1, paused: true });
    await shard.change('later', { version: 1, delta: 1, opensAt: Date.now() + 3_600_000 });
    await shard.change('over', { version: 1, delta: 1, closesAt: 1 });
    await shard.change('behind', { version: 1, delta: 1, ceiling: 0 });
    await shard.claim('sale', 'ann');
    const before = await writes();
    const coupons = ['sale', 'paused', 'later', 'over', 'behind', 'unknown'];
    const keys = [shard.fence, shard.outboxKey, ...coupons.flatMap(ownKeys)];
    const reply = await shard.run('claim', keys, [1, ...coupons.flatMap((couponId) => [couponId, 1, 'bob'])]);
    expect(reply).toEqual([
      0,
      expect.any(Number),
      expect.any(Array),
      [CODE.SOLD_OUT, CODE.PAUSED, CODE.NOT_OPEN, CODE.ENDED, CODE.LEDGER_BEHIND, CODE.UNKNOWN_COUPON].flatMap(
        (code) => [code, 0, 0],
      ),
    ]);
    expect(await writes()).toBe(before);
  });

  it('but for one whose receipt it gives, or whose return it tells: WAIT speaks of a write', async () => {
    await shard.change('sale', { version: 1, delta: 2 });
    await shard.claim('sale', 'ann', 'bob');
    await shard.returnClaim('sale', 'bob');
    for (const user of ['ann', 'bob']) {
      const before = await writes();
      await shard.claim('sale', user, 'cid');
      expect(await writes()).toBeGreaterThan(before);
    }
  });
});

describe('the fence refuses', () => {
  const refused = async () => {
    expect(await shard.claimBatch([['sale', ['zoe']]])).toBe(CODE.FENCED);
    expect(await shard.receipt('sale', 'ann')).toEqual([CODE.FENCED]);
    expect(await shard.view('sale')).toEqual([CODE.FENCED]);
    expect((await shard.change('sale', { version: 2, delta: 1 }))[0]).toBe(CODE.FENCED);
    expect(await shard.acknowledge([])).toBe(CODE.FENCED);
  };

  beforeEach(async () => {
    await shard.change('sale', { version: 1, delta: 9 });
    await shard.claim('sale', 'ann');
  });

  it('another epoch, older or newer', async () => {
    shard.epoch = 0;
    await refused();
    shard.epoch = 2;
    await refused();
  });

  it('a missing fence', async () => {
    await redis.del(shard.fence);
    await refused();
  });

  it('a shard that is being rebuilt', async () => {
    await redis.hset(shard.fence, 'state', 'rebuilding');
    await refused();
  });

  it('a shard in which a script died half way', async () => {
    await redis.hset(shard.fence, 'torn', '1');
    await refused();
  });

  it.each(['run_id', 'replid'])('a Redis that is not the one it was opened on (%s)', async (field) => {
    await redis.hset(shard.fence, field, '0123456789abcdef');
    await refused();
  });

  it('a Redis that was restarted', async () => {
    await server.restart();
    await whenRedisReady(redis, 10_000);
    await refused();
  });

  it.each(['coupon', 'stock', 'claimedUser'] as const)(
    'a coupon whose key %s is gone, and fences the shard',
    async (key) => {
      await redis.del(shard.keys('sale')[key]);
      expect(await shard.claimBatch([['sale', ['zoe']]])).toBe(CODE.FENCED);
      expect(await redis.hget(shard.fence, 'state')).toBe('damaged');
      expect(await shard.claimBatch([['other', ['zoe']]])).toBe(CODE.FENCED);
    },
  );

  it.each(['total', 'outcome', 'returned', 'returnable'])(
    'to change or to give back a claim of a coupon that has lost its %s, which no claim reads',
    async (field) => {
      await redis.hdel(shard.keys('sale').coupon, field);
      expect(await shard.claim('sale', 'zoe')).toMatchObject([{ code: CODE.CLAIMED }]);
      expect(await shard.view('sale')).toEqual([CODE.FENCED]);
      expect(await shard.returnClaim('sale', 'ann')).toEqual([CODE.FENCED]);
      expect(await redis.hget(shard.fence, 'state')).toBe('damaged');
    },
  );

  it('a shard with a receipt that cannot be read, before it writes anything', async () => {
    await redis.hset(shard.keys('sale').claimedUser, 'ann', 'nonsense');
    expect(await shard.claimBatch([['sale', ['zoe', 'ann']]])).toBe(CODE.FENCED);
    expect(await shard.stock('sale')).toBe(8);
    expect(await redis.hget(shard.fence, 'state')).toBe('damaged');
  });

  it('a coupon that only readers look at, once one of them has found it damaged', async () => {
    await redis.del(shard.keys('sale').stock);
    expect(await shard.view('sale')).toEqual([CODE.FENCED]);
    expect(await redis.hget(shard.fence, 'state')).toBe('open');
    const { coupon, stock, claimedUser } = shard.keys('sale');
    await shard.run('find_damage', [shard.fence, coupon, stock, claimedUser], [shard.epoch, 'sale']);
    expect(await redis.hget(shard.fence, 'state')).toBe('damaged');
  });

  it('one coupon alone that is kept closed, and no other of its shard', async () => {
    const { coupon, stock, claimedUser } = shard.keys('sale');
    await redis.del(coupon, stock, claimedUser);
    await redis.hset(shard.fence, 'coupon:sale', '0');
    await shard.change('other', { version: 1, delta: 9 });
    const answers = await shard.claimBatch([
      ['sale', ['zoe']],
      ['other', ['zoe']],
    ]);
    expect(answers).toMatchObject([{ code: CODE.COUPON_CLOSED }, { code: CODE.CLAIMED, no: 1 }]);
    expect(await shard.receipt('sale', 'ann')).toEqual([CODE.COUPON_CLOSED]);
    expect((await shard.change('sale', { version: 1, delta: 9 }))[0]).toBe(CODE.FENCED);
  });

  it('to begin a forgotten coupon afresh', async () => {
    const { coupon, stock, claimedUser } = shard.keys('sale');
    await redis.del(coupon, stock, claimedUser);
    expect((await shard.change('sale', { version: 1, delta: 9 }))[0]).toBe(CODE.FENCED);
    expect(await redis.exists(coupon)).toBe(0);
  });
});

it('writes nothing when its arguments do not fit its keys', async () => {
  await shard.change('sale', { version: 1, delta: 9 });
  const { coupon, stock, claimedUser } = shard.keys('sale');
  const keys = [shard.fence, shard.outboxKey, coupon, stock, claimedUser];
  const before = await redis.xlen(shard.outboxKey);
  for (const args of [
    [1],
    [1, 'sale', 2, 'ann'],
    [1, 'sale', 0],
    [1, 'sale', 'x', 'ann'],
    [1, 'sale', 1, 'a', 'sale', 1, 'b'],
  ]) {
    await expect(shard.run('claim', keys, args)).rejects.toThrow('arguments do not fit');
  }
  expect(await redis.xlen(shard.outboxKey)).toBe(before);
  expect(await redis.hlen(claimedUser)).toBe(0);
});
