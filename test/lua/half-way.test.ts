// An error in the middle of a script, at every call of every script: either nothing was written, and the same call again does
// it, or the shard refuses everything until it is rebuilt. Redis keeps what a script wrote before its error.
import { beforeAll, describe, expect, it } from 'vitest';
import { LEDGER_GROUP } from '../../coupons/keys.js';
import { parseReceipt } from '../../coupons/receipt.js';
import { CODE } from '../../lua/codes.js';
import type { ScriptName } from '../../lua/scripts.js';
import { loadScripts, SCRIPT_NAMES } from '../../lua/scripts.js';
import type { Redis } from '../../platform/redis.js';
import { failingAt } from '../harness/failing-script.js';
import { ScriptShard, SCRIPT_SHARD_TOKEN as TOKEN, startScriptRedis } from '../harness/script-shard.js';

const HOUR_MS = 3_600_000;

let redis: Redis;
let shard: ScriptShard;
const scripts = loadScripts();

beforeAll(async () => {
  ({ redis } = await startScriptRedis({ appendfsync: 'no' }));
});

interface Scenario {
  /** What the shard is like before; on top of a coupon `sale` that ann has claimed, and bob claimed and returned. */
  readonly before?: () => Promise<unknown>;
  readonly keys: () => string[];
  readonly args: () => (string | number)[];
}

const own = (couponId = 'sale'): string[] => {
  const { coupon, stock, claimedUser } = shard.keys(couponId);
  return [coupon, stock, claimedUser];
};
const rebuilding = async (): Promise<void> => {
  shard.epoch = 2;
  await shard.run('rebuild_begin', [shard.fence, shard.outboxKey], [2, TOKEN, LEDGER_GROUP]);
};
const ended = async (): Promise<void> => {
  await shard.change('sale', { version: 2, closesAt: Date.now() - HOUR_MS });
  await shard.acknowledge(await shard.readOutbox(), { sale: { returns: [await returnId()] } });
};
const returnId = async (): Promise<string> => (await shard.outbox()).find(({ kind }) => kind === 'return')?.id ?? '';
const HASH = Object.entries({
  ...{
    version: 1,
    outcome: 0,
    paused: 0,
    opens_at: '',
    closes_at: '',
    ack: 'redis',
    total: 9,
    highest: 1,
    ceiling: 100,
  },
  ...{ returnable: 1, returned: 0, returning: 0, voids: 0, withheld: 0 },
}).flat();

let returned = '';
let ids: string[] = [];
const SCENARIOS: Record<ScriptName, Scenario> = {
  acknowledge: {
    before: async () => {
      returned = await returnId();
      ids = (await shard.readOutbox()).filter((id) => id !== returned);
    },
    keys: () => [shard.fence, shard.outboxKey, ...own().slice(0, 2)],
    args: () => [1, 'open', LEDGER_GROUP, ids.length, ...ids, 2_000_000, 1, returned],
  },
  archive: {
    before: ended,
    keys: () => [shard.fence, ...own()],
    args: () => [1, 'sale', 2, 2, 1],
  },
  change: {
    keys: () => [shard.fence, shard.outboxKey, ...own()],
    args: () => [1, 'sale', 2, 5, 0, '', '', 'redis', 100, 1],
  },
  claim: {
    before: () => shard.change('other', { version: 1, delta: 1 }),
    keys: () => [shard.fence, shard.outboxKey, ...own(), ...own('other')],
    args: () => [1, 'sale', 3, 'ann', 'cid', 'dan', 'other', 2, 'ann', 'bob'],
  },
  fence_state: { keys: () => [shard.fence, shard.outboxKey], args: () => [1] },
  find_damage: {
    before: () => redis.del(shard.keys('sale').stock),
    keys: () => [shard.fence, ...own(), shard.outboxKey],
    args: () => [1, 'sale'],
  },
  load_archived: {
    before: rebuilding,
    keys: () => [shard.fence, ...own()],
    args: () => [2, TOKEN, 'sale', ...HASH],
  },
  load_begin: { before: rebuilding, keys: () => [shard.fence, ...own()], args: () => [2, TOKEN] },
  load_closed: { before: rebuilding, keys: () => [shard.fence, ...own()], args: () => [2, TOKEN, 'sale'] },
  load_finish: {
    before: async () => {
      await rebuilding();
      await shard.run('load_begin', [shard.fence, ...own()], [2, TOKEN]);
      await shard.run('load_receipts', [shard.fence, shard.keys('sale').claimedUser], [2, TOKEN, 'ann', 1, 1, '']);
    },
    keys: () => [shard.fence, ...own()],
    args: () => [2, TOKEN, 'sale', 1, 8, ...HASH],
  },
  load_receipts: {
    before: rebuilding,
    keys: () => [shard.fence, shard.keys('sale').claimedUser],
    args: () => [2, TOKEN, 'ann', 1, 1, ''],
  },
  lower_stock: {
    before: () => redis.set(shard.keys('sale').stock, 99),
    keys: () => [shard.fence, ...own()],
    args: () => [1, 'sale'],
  },
  outbox_ends: { keys: () => [shard.fence, shard.outboxKey], args: () => [1] },
  rebuild_begin: {
    keys: () => [shard.fence, shard.outboxKey],
    args: () => [2, TOKEN, LEDGER_GROUP],
  },
  rebuild_open: {
    before: async () => {
      await rebuilding();
      await redis.xtrim(shard.outboxKey, 'MAXLEN', 0);
    },
    keys: () => [shard.fence, shard.outboxKey],
    args: () => [2, TOKEN, 0, 0],
  },
  receipt: { keys: () => [shard.fence, ...own(), shard.outboxKey], args: () => [1, 'sale', 'ann'] },
  requeue: {
    keys: () => [shard.fence, shard.outboxKey],
    args: () => [1, 'kind', 'grant', 'coupon', 'sale', 'no', 1, 'user', 'ann', 'at', 1, 'epoch', 1],
  },
  return: { keys: () => [shard.fence, shard.outboxKey, ...own()], args: () => [1, 'sale', 'ann'] },
  view: { keys: () => [shard.fence, ...own()], args: () => [1, 'sale'] },
};

async function prepare({ before }: Scenario): Promise<void> {
  await redis.flushall();
  shard = new ScriptShard(redis);
  await shard.openEmpty();
  await shard.change('sale', { version: 1, delta: 9 });
  await shard.claim('sale', 'ann', 'bob');
  await shard.returnClaim('sale', 'bob');
  await before?.();
}

/** Everything in Redis but the clock, which may go on. */
async function contents(): Promise<Record<string, unknown>> {
  const all: Record<string, unknown> = {};
  for (const key of (await redis.keys('*')).sort()) {
    const type = await redis.type(key);
    if (key.includes(':claimed_user:')) all[key] = await receipts(key);
    else if (type === 'hash') all[key] = { ...(await redis.hgetall(key)), clock: undefined };
    else all[key] = type === 'stream' ? await redis.xrange(key, '-', '+') : await redis.get(key);
  }
  return all;
}

async function receipts(key: string): Promise<Record<string, unknown>> {
  const values = Object.entries(await redis.hgetallBuffer(key));
  return Object.fromEntries(values.map(([user, value]) => [user, parseReceipt(value)]));
}

/** Without what differs from one run to the next: times, and the ids of entries. */
const timeless = (value: unknown): string => JSON.stringify(value).replaceAll(/\d{13}(-\d+)?/g, 'time');

describe.each(SCRIPT_NAMES)('%s', (name) => {
  it('does all or nothing, or leaves the shard closed, wherever an error ends it', async () => {
    const scenario = SCENARIOS[name];
    await prepare(scenario);
    const reply = timeless(await shard.run(name, scenario.keys(), scenario.args()));
    const done = timeless(await contents());
    for (let at = 1; ; at++) {
      await prepare(scenario);
      const before = timeless(await contents());
      const failing = failingAt(scripts[name], at);
      const run = redis.eval(failing.source, scenario.keys().length, ...scenario.keys(), ...scenario.args());
      const error = await run.then(
        () => undefined,
        (reason: unknown) => String(reason),
      );
      if (error === undefined) {
        // Past its last call; each script makes some.
        expect(at).toBeGreaterThan(2);
        break;
      }
      expect(error).toContain(`planted at call ${at}`);
      const after = timeless(await contents());
      if (after === before) {
        expect(timeless(await shard.run(name, scenario.keys(), scenario.args()))).toBe(reply);
        expect(timeless(await contents())).toBe(done);
      } else if (after !== done) {
        await expectClosed();
      }
    }
  });
});

/** Under whichever epoch somebody asks. */
async function expectClosed(): Promise<void> {
  for (const epoch of [1, 2]) {
    shard.epoch = epoch;
    expect(await shard.claimBatch([['sale', ['ann', 'zoe']]])).toBe(CODE.FENCED);
    expect(await shard.returnClaim('sale', 'ann')).toEqual([CODE.FENCED]);
    expect(await shard.acknowledge([])).toBe(CODE.FENCED);
  }
}
