// What once stopped the ledger, or could have: each of these kept claims out of MySQL, or a shard closed, for ever.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { beforeEach, expect, it } from 'vitest';
import type { CouponsService } from '../../coupons/coupons.js';
import { LEDGER_GROUP, outboxKey, shardOf } from '../../coupons/keys.js';
import { readShards } from '../../coupons/shards.js';
import { loadScripts } from '../../lua/scripts.js';
import type { RowDataPacket } from '../../platform/mysql.js';
import type { Pool } from '../../platform/mysql.js';
import { connectMysql } from '../../platform/mysql.js';
import { RebuildOvertaken } from '../../workers/ledger/rebuild/lease.js';
import { rebuildShard } from '../../workers/ledger/rebuild/rebuild.js';
import type { WriteTask } from '../../workers/ledger/write.js';
import { writeBatch } from '../../workers/ledger/write.js';
import type { AwaitedClaims } from '../harness/awaited-claims.js';
import { atEndOfFile } from '../harness/cleanup.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

const SHARDS = 4;
let installation: Installation;
let ledger: Awaited<ReturnType<Installation['startLedger']>>;
let claims: AwaitedClaims;
let coupons: CouponsService;

beforeEach(async () => {
  installation = await createInstallation({ SHARD_COUNT: String(SHARDS) });
  ledger = await installation.startLedger();
  claims = await installation.startClaims();
  coupons = await installation.startCoupons();
});

const create = (couponId: string, total = 1_000) =>
  coupons.create({ couponId, total, opensAt: null, closesAt: null, ack: 'redis', returnable: false });
/** A coupon id that lives in this shard. */
const inShard = (shard: number, name: string): string => {
  for (let i = 0; ; i++) if (shardOf(`${name}-${i}`, SHARDS) === shard) return `${name}-${i}`;
};
const outboxOf = (couponId: string) => outboxKey(shardOf(couponId, SHARDS));
const rowsOf = async (couponId: string) => (await installation.claimRows(couponId)).map(({ userId }) => userId);
const claimed = (couponId: string, user: string) =>
  waitFor(async () => (await claims.claim(couponId, user)).status !== 'refused', { what: `a claim of ${couponId}` });

it('one shard that cannot be right does not keep the others closed, nor its own other coupons', async () => {
  const [bad, neighbour, elsewhere] = [inShard(0, 'bad'), inShard(0, 'good'), inShard(3, 'good')];
  for (const couponId of [bad, neighbour, elsewhere]) {
    await create(couponId);
    await claims.claim(couponId, 'ann');
    await claims.claim(couponId, 'bob');
  }
  await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
  // Its answer tells the witness that everything is committed: it would put the row back.
  await claims.claim(bad, 'ann');
  await installation.mysql.query('DELETE FROM coupon_claim_log WHERE coupon_id = ? AND claim_no = 1', [bad]);
  await installation.redisServer.restart();
  await claimed(elsewhere, 'cid');
  await claimed(neighbour, 'cid');
  expect(await claims.claim(bad, 'cid')).toEqual({ status: 'refused', code: 'fenced' });
  expect(await claims.claim(neighbour, 'ann')).toMatchObject({ status: 'already_claimed', receipt: { claimNo: 1 } });
});

it('an entry whose delivery was lost on the way is read again while traffic goes on', async () => {
  await create('busy');
  await ledger.drain();
  await claims.claim('busy', 'lost');
  // Redis hands the entry to our consumer, and the reply never arrives.
  const consumers = (await installation.redis.xinfo('CONSUMERS', outboxOf('busy'), LEDGER_GROUP)) as string[][];
  const [name = ''] = consumers.map((flat) => flat[flat.indexOf('name') + 1] ?? '');
  ledger = await installation.startLedger();
  await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
  let over = false;
  const traffic = (async () => {
    for (let i = 0; !over; i++) await claims.claim('busy', `user-${i}`);
  })();
  await installation.redis.xreadgroup(
    'GROUP',
    LEDGER_GROUP,
    name,
    'COUNT',
    1,
    'BLOCK',
    5_000,
    'STREAMS',
    outboxOf('busy'),
    '>',
  );
  // Every reader's connection breaks, as it does when a reply is lost.
  await installation.redis.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  const handedOut = await waitFor(async () => (await coupons.show('busy')).live?.claimed, { what: 'the count' });
  await waitFor(async () => (await rowsOf('busy')).length >= handedOut, { what: 'every row up to now' });
  over = true;
  await traffic;
});

it('a consumer group that is gone is made again, and nothing is left out', async () => {
  const [one, other] = [inShard(0, 'one'), inShard(2, 'other')];
  await create(one);
  await create(other);
  await installation.redis.xgroup('DESTROY', outboxOf(one), LEDGER_GROUP);
  await claims.claim(one, 'ann');
  await claims.claim(other, 'bob');
  await waitFor(async () => (await rowsOf(one)).length === 1 && (await rowsOf(other)).length === 1, {
    what: 'both rows',
  });
});

it('two entries of one batch that are at odds with each other do not keep out the rest', async () => {
  await create('odd');
  await ledger.drain();
  const forged = ['kind', 'grant', 'coupon', 'odd', 'no', '500', 'at', '1700000000000', 'epoch', '1'] as const;
  await installation.redis.xadd(outboxOf('odd'), '*', ...forged, 'user', 'eve');
  await installation.redis.xadd(outboxOf('odd'), '*', ...forged, 'user', 'mallory');
  await claims.claim('odd', 'ann');
  ledger = await installation.startLedger();
  await waitFor(async () => (await rowsOf('odd')).includes('ann'), { what: "ann's row" });
  expect(await rowsOf('odd')).toEqual(['ann', 'eve']);
});

it('a rebuilder that slept through a take-over settles nothing', async () => {
  const { mysql, redis, log } = installation;
  await create('halved', 100);
  await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
  await ledger.drain();
  const shard = shardOf('halved', SHARDS);
  const writer = await connectMysql(installation.settings.mysqlUrl ?? '');
  atEndOfFile(() => writer.end());
  const context = (pool: Pool, owner: string) => ({
    ...{ redis, mysql: pool, scripts: loadScripts(), owner, log, ledgerWindow: 10 },
    write: (task: WriteTask) => writeBatch(writer, task),
  });
  const epoch = async () => {
    const [rows] = await mysql.query<RowDataPacket[]>('SELECT epoch FROM shard WHERE shard = ?', [shard]);
    return Number(rows[0]?.['epoch']);
  };
  const { signal } = new AbortController();
  // The sleeper stops at its first transaction after it has taken the shard.
  let transactions = 0;
  let sleeping = (): void => undefined;
  let wake = (): void => undefined;
  const asleep = new Promise<void>((resolve) => (sleeping = resolve));
  const woken = new Promise<void>((resolve) => (wake = resolve));
  const sleepy = new Proxy(mysql, {
    get: (pool, name) => {
      if (name === 'query') return pool.query.bind(pool);
      return async (use: Parameters<Pool['withConnection']>[0]) => {
        if (++transactions > 1) {
          sleeping();
          await woken;
        }
        return await pool.withConnection(use);
      };
    },
  });
  const sleeper = rebuildShard(context(sleepy, 'same owner'), shard, await epoch(), signal);
  await asleep;
  expect(await rebuildShard(context(mysql, 'same owner'), shard, await epoch(), signal)).toBeGreaterThan(1);
  // An operator asks for less; the change is not applied yet.
  await mysql.query("UPDATE coupon SET version = 2 WHERE coupon_id = 'halved'");
  await mysql.query(
    `INSERT INTO coupon_stock_log VALUES ('halved', 2, -50, 'less', 'test', 'less', 'pending', UTC_TIMESTAMP(3))`,
  );
  wake();
  await expect(sleeper).rejects.toThrow(RebuildOvertaken);
  const [rows] = await mysql.query<RowDataPacket[]>(
    "SELECT applied_version, total FROM coupon WHERE coupon_id = 'halved'",
  );
  expect(rows).toMatchObject([{ applied_version: 1, total: 100 }]);
  await coupons.finish('halved');
  expect(await coupons.show('halved')).toMatchObject({ total: 50, live: { remaining: 50 } });
});

it('a Redis that is full refuses claims before they begin, gives receipts, lets the ledger go on, and comes back by itself', async () => {
  await create('full', 100_000);
  const heard = new Map<string, number>();
  let asked = 0;
  let over = false;
  const traffic = Promise.all(
    Array.from({ length: 20 }, async () => {
      while (!over) {
        const outcome = await claims.claim('full', `user-${asked++}`);
        const what = outcome.status === 'refused' ? outcome.code : outcome.status;
        heard.set(what, (heard.get(what) ?? 0) + 1);
      }
    }),
  );
  const { redis } = installation;
  const more = async (what: string): Promise<void> => {
    const before = heard.get(what) ?? 0;
    await waitFor(() => (heard.get(what) ?? 0) > before + 100, { what: `more claims to be ${what}` });
  };
  const epochs = async () => (await readShards(installation.mysql)).map(({ epoch }) => epoch);
  const before = await epochs();
  try {
    await more('claimed');
    await redis.config('SET', 'maxmemory', '1mb');
    await more('unavailable');
    const told = heard.get('claimed') ?? 0;
    expect(await claims.receipt('full', 'user-0')).toMatchObject({ status: 'already_claimed' });
    expect(await claims.claim('full', 'user-0')).toEqual({ status: 'refused', code: 'unavailable' });
    await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the ledger to make room' });
    expect(await rowsOf('full')).toHaveLength(told);
    await redis.config('SET', 'maxmemory', '0');
    await more('claimed');
  } finally {
    over = true;
    await traffic;
  }
  expect([...heard.keys()].sort()).toEqual(['claimed', 'unavailable']);
  await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
  expect(await rowsOf('full')).toHaveLength(heard.get('claimed') ?? 0);
  expect((await coupons.audit()).ok).toBe(true);
  // Nothing was written half, so nothing had to be rebuilt.
  expect(await epochs()).toEqual(before);
});

it('a Redis that is away at the start is waited for, and found when it comes, however often it was tried before', async () => {
  await create('patient');
  await ledger.drain();
  await claims.stop(Date.now() + 20_000);
  const { redisServer } = installation;
  await redisServer.stop();
  // Somebody else has its port, and tells how often every connection has tried: the pause before the next one is the longest.
  let attempts = 0;
  const nobody = createServer((socket) => {
    attempts++;
    socket.destroy();
  });
  nobody.listen(Number(new URL(redisServer.url).port), '127.0.0.1');
  await once(nobody, 'listening');
  ledger = await installation.startLedger('ledger-1', undefined, ['redis_unavailable']);
  claims = await installation.startClaims({}, undefined, ['redis_unavailable', 'shards_closed']);
  await waitFor(() => attempts > 80, { what: 'many attempts' });
  expect(await claims.claim('patient', 'ann')).toEqual({ status: 'refused', code: 'unavailable' });
  expect(claims.unreadyReasons()).toEqual(['redis_unavailable', 'shards_closed']);
  nobody.close();
  await once(nobody, 'close');
  await redisServer.restart();
  await claimed('patient', 'ann');
  await waitFor(async () => (await rowsOf('patient')).length === 1, { what: 'the row' });
  expect([ledger.unreadyReasons(), claims.unreadyReasons()]).toEqual([[], []]);
});

it('the audit sees that MySQL and Redis disagree about the stock', async () => {
  await create('told', 100);
  await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
  const violated = async () =>
    (await coupons.audit()).invariants.filter((i) => i.violations > 0).map(({ name }) => name);
  expect(await violated()).toEqual([]);
  await installation.mysql.query(
    "UPDATE coupon SET version = 2, applied_version = 2, total = 50 WHERE coupon_id = 'told'",
  );
  expect(await violated()).toEqual(['I5']);
});

it('the audit does not take a shard that is being rebuilt for a ledger full of forgeries', async () => {
  await create('big', 5_000);
  await Promise.all(Array.from({ length: 5_000 }, (_, i) => claims.claim('big', `user-${i}`)));
  await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
  // Watched from its first moment on: it may end before the shard's state is written.
  const audited = coupons.audit().then(
    (report) => report.invariants.filter((i) => i.violations > 0),
    (error: unknown) => (error as { code?: string }).code,
  );
  await installation.redis.hset(outboxOf('big').replace('outbox', 'fence'), 'state', 'damaged');
  const outcome = await audited;
  expect([[], 'fenced']).toContainEqual(outcome);
});
