// Redis forgets: the shard is rebuilt from the rows of MySQL, the surviving outbox and what witnesses report; what nobody can
// tell of is withheld. On a real Redis that keeps nothing over a restart, and a real MariaDB.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ClaimOutcome } from '../../cluster/claims/claim-service.js';
import type { CouponsService } from '../../coupons/coupons.js';
import { couponKeys, fenceKey, outboxKey, shardOf } from '../../coupons/keys.js';
import { readShard } from '../../coupons/shards.js';
import { readWithheld } from '../../coupons/withheld.js';
import { loadScripts } from '../../lua/scripts.js';
import { insertWorker, registerEpochs } from '../../coupons/witnesses.js';
import type { ProcessIdentity } from '../../platform/process-identity.js';
import { identify, thisProcess } from '../../platform/process-identity.js';
import { whenRedisReady } from '../../platform/redis.js';
import { Lease, RebuildOvertaken } from '../../workers/ledger/rebuild/lease.js';
import { FaultProxy } from '../../verify/fault-proxy.js';
import type { AwaitedClaims } from '../harness/awaited-claims.js';
import { atEndOfFile } from '../harness/cleanup.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import type { TestServer } from '../harness/servers.js';
import { startTestRedis } from '../harness/servers.js';
import { waitFor } from '../harness/wait-for.js';

const SHARDS = 2;
let installation: Installation;
let redisServer: TestServer;
let claims: AwaitedClaims;
let coupons: CouponsService;
let ledger: Awaited<ReturnType<Installation['startLedger']>>;

beforeEach(async () => {
  await installWith({ SHARD_COUNT: String(SHARDS) });
});

/** On a Redis that keeps nothing over a restart. */
async function installWith(
  env: Record<string, string>,
  redis: Parameters<typeof startTestRedis>[0] = { persistence: false },
): Promise<void> {
  redisServer = await startTestRedis(redis);
  installation = await createInstallation({ ...env, REDIS_URL: redisServer.url });
  ledger = await installation.startLedger();
  claims = await installation.startClaims();
  coupons = await installation.startCoupons();
}

const create = (couponId: string, total: number, returnable = false) =>
  coupons.create({ couponId, total, opensAt: null, closesAt: null, ack: 'redis', returnable });
const users = (count: number, prefix = 'user') => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
const claimAll = (couponId: string, who: readonly string[], by: AwaitedClaims = claims) =>
  Promise.all(who.map((user) => by.claim(couponId, user)));
const numbers = (outcomes: readonly ClaimOutcome[]) =>
  outcomes.map((outcome) => (outcome.status === 'refused' ? outcome.code : outcome.receipt.claimNo));
const outboxEmpty = () => waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'an empty outbox' });
/** As if everything that is in Redis had been lost, while nobody takes it to MySQL. */
const loseEverything = async (lose: () => Promise<unknown> = () => redisServer.restart()): Promise<void> => {
  await lose();
  ledger = await installation.startLedger();
  await everyShardOpen();
};
/** Open for `claims`, with its coupons. */
const everyShardOpen = async (): Promise<void> => {
  const ids = (await coupons.list({ after: '', limit: 100 })).coupons.map(({ couponId }) => couponId);
  await waitFor(
    async () => {
      const views = await Promise.all(ids.map((couponId) => claims.coupon(couponId)));
      return views.every((view) => !('status' in view));
    },
    { what: 'every coupon to be there again' },
  );
};
const stopLedger = async (): Promise<void> => {
  await outboxEmpty();
  await ledger.drain();
};
const violated = async () =>
  (await coupons.audit()).invariants.filter(({ violations }) => violations > 0).map(({ examples }) => examples);

describe('a Redis that comes back empty', () => {
  it.each([
    ['by a restart', () => redisServer.restart()],
    ['by FLUSHALL', () => installation.redis.flushall()],
  ])('%s costs no claim that a living worker told, and gives nobody a second one', async (_how, lose) => {
    await create('kept', 30);
    await stopLedger();
    const told = await claimAll('kept', users(20));
    await loseEverything(lose);
    const again = await claimAll('kept', users(20));
    expect(numbers(again)).toEqual(numbers(told));
    const rest = await claimAll('kept', users(20, 'new'));
    expect(rest.filter(({ status }) => status === 'claimed')).toHaveLength(10);
    expect(rest.filter((one) => one.status === 'refused' && one.code === 'sold_out')).toHaveLength(10);
    await outboxEmpty();
    expect((await installation.claimRows('kept')).map(({ claimNo }) => claimNo)).toEqual(
      Array.from({ length: 30 }, (_, i) => i + 1),
    );
    expect(await violated()).toEqual([]);
  });

  it('costs no return that a living worker told', async () => {
    await create('given-back', 2, true);
    await stopLedger();
    await claimAll('given-back', ['ann', 'bob']);
    const returned = await claims.returnClaim('given-back', 'ann');
    await loseEverything();
    expect(await claims.returnClaim('given-back', 'ann')).toEqual(returned);
    expect(numbers(await claimAll('given-back', ['ann', 'cid', 'dan']))).toEqual(['returned', 3, 'sold_out']);
    await outboxEmpty();
    expect(await violated()).toEqual([]);
  });

  it('costs nothing that the ledger had read, also when the worker that told it is dead', async () => {
    await create('read', 5);
    await outboxEmpty();
    await installation.mysql.withConnection(async (connection) => {
      // The ledger reads the entries and cannot write them.
      await connection.query('LOCK TABLES coupon_claim_log READ');
      await claimAll('read', ['ann', 'bob']);
      await waitFor(() => allIsRead('read'), { what: 'the ledger to read' });
      await claims.stop();
      await registerDead('read');
      await redisServer.restart();
      await connection.query('UNLOCK TABLES');
    });
    await waitFor(async () => (await installation.claimRows('read')).length === 2, { what: 'both rows' });
  });
});

describe('a Redis that is killed', () => {
  const kept = async () => {
    await whenRedisReady(installation.redis, 10_000);
    const { claimedUser } = couponKeys(shardOf('killed', SHARDS), 'killed');
    return await installation.redis.hlen(claimedUser);
  };

  it.each([
    ['under `always` has all that it has answered', 'always', 0, 3],
    // Somewhere in the middle of the last transaction.
    ['under `everysec`, its file cut off, costs nothing that a living worker told', 'everysec', 40, 0],
  ] as const)('%s', async (_what, appendfsync, cutBytes, left) => {
    await installWith({ SHARD_COUNT: String(SHARDS) }, { appendfsync });
    await create('killed', 5);
    await stopLedger();
    const told = await claimAll('killed', ['ann', 'bob', 'cid']);
    await redisServer.kill();
    await cutOff(redisServer.dataFolder, cutBytes);
    await redisServer.restart();
    expect(await kept()).toBe(left);
    ledger = await installation.startLedger();
    await everyShardOpen();
    expect(numbers(await claimAll('killed', ['ann', 'bob', 'cid']))).toEqual(numbers(told));
    expect(numbers(await claimAll('killed', ['dan', 'eve', 'fay']))).toEqual([4, 5, 'sold_out']);
    await outboxEmpty();
    expect(await violated()).toEqual([]);
  });
});

describe('a worker that died before it could report', () => {
  it('has all numbers withheld that it may have told, until an operator releases them', async () => {
    await create('doubtful', 10);
    const before = await claimAll('doubtful', ['ann', 'bob', 'cid']);
    await stopLedger();
    await registerDead('doubtful');
    await loseEverything();
    expect(numbers(await claimAll('doubtful', ['ann', 'bob', 'cid']))).toEqual(numbers(before));
    // Nobody knows what the dead one told: nothing is left to hand out, and nothing is sold out.
    expect(numbers(await claimAll('doubtful', ['dan']))).toEqual(['fenced']);
    expect(await claims.coupon('doubtful')).toMatchObject({ state: 'withheld', remaining: 0 });
    expect(await coupons.show('doubtful')).toMatchObject({ withheld: 7, live: { remaining: 0, claimed: 3 } });
    expect(await coupons.newest(1)).toMatchObject([{ couponId: 'doubtful', withheld: 7 }]);
    expect(await readWithheld(installation.mysql)).toEqual(new Map([['doubtful', 7]]));
    expect(await violated()).toEqual([]);

    await coupons.releaseWithheld('doubtful');
    const dan = await waitFor(async () => claimedBy('doubtful', 'dan'), { what: 'the units to come back' });
    expect(dan).toBe(11);
    expect(numbers(await claimAll('doubtful', users(7)))).toEqual([12, 13, 14, 15, 16, 17, 'sold_out']);
    await outboxEmpty();
    expect(await coupons.show('doubtful')).toMatchObject({ withheld: 0, ledger: { claimed: 10 } });
    expect(await readWithheld(installation.mysql)).toEqual(new Map());
    expect(await violated()).toEqual([]);
  });

  it('has its numbers released also when the shard is under rebuild just then', async () => {
    await create('doubtful', 10);
    await stopLedger();
    await registerDead('doubtful');
    await loseEverything();
    expect(await coupons.show('doubtful')).toMatchObject({ withheld: 10 });
    const shard = shardOf('doubtful', SHARDS);
    const { epoch } = await readShard(installation.mysql, shard);
    const { mysql, redis, log } = installation;
    const context = { mysql, redis, log, scripts: loadScripts(), write: noWrites, ledgerWindow: 10, owner: 'another' };
    const lease = await Lease.take(context, shard, epoch);

    await coupons.releaseWithheld('doubtful');
    // It may have loaded the coupon as it was before.
    await expect(lease?.open()).rejects.toThrow(RebuildOvertaken);
    expect(await waitFor(async () => claimedBy('doubtful', 'dan'), { what: 'the units to come back' })).toBe(11);
  });

  it('has no more withheld than the ceiling let it tell', async () => {
    await installWith({ SHARD_COUNT: '1', LEDGER_WINDOW: '4' });
    await create('bounded', 100);
    await claimAll('bounded', ['ann']);
    await stopLedger();
    await registerDead('bounded');
    await loseEverything();
    expect(await coupons.show('bounded')).toMatchObject({ withheld: 4, live: { remaining: 95 } });
    expect(numbers(await claimAll('bounded', ['bob']))).toEqual([6]);
    await outboxEmpty();
    expect(await violated()).toEqual([]);
  });

  it('has what it may have told taken out of an entry of a Redis that was away, beside what cannot be read or is dropped', async () => {
    await create('away', 10);
    await stopLedger();
    await registerDead('away');
    const shard = shardOf('away', SHARDS);
    const { epoch } = await readShard(installation.mysql, shard);
    await loseEverything();
    expect(await coupons.show('away')).toMatchObject({ withheld: 10 });
    await stopLedger();
    const part = (at: string, who: string) => ['coupon', 'away', 'numbers', at, 'users', who];
    await installation.redis.xadd(
      outboxKey(shard),
      '*',
      ...['kind', 'grants', 'at', '1795770000000', 'epoch', String(epoch)],
      ...[...part('3-5', 'ann\n\u0007\ncid'), ...part('40-40', 'dan')],
    );
    await installation.redis.hset(fenceKey(shard), 'state', 'damaged');
    ledger = await installation.startLedger();
    await everyShardOpen();
    expect(numbers(await claimAll('away', ['ann', 'cid', 'dan']))).toEqual([3, 5, 'fenced']);
    expect((await coupons.deadLetters.list({ after: 0, limit: 10 })).letters).toMatchObject([{ kind: 'unreadable' }]);
    expect(await installation.outboxEntries()).toBe(0);
  });

  it('is forgotten when the ledger has everything that it can have told', async () => {
    await create('settled', 10);
    const worker = await registerDead('settled');
    await claimAll('settled', ['ann']);
    await outboxEmpty();
    await waitFor(async () => !(await isRegistered(worker)), { what: 'the dead worker to be retired' });
    await ledger.drain();
    await loseEverything();
    expect(await coupons.show('settled')).toMatchObject({ withheld: 0, live: { remaining: 9 } });
  });
});

describe('a worker that cannot be heard in time', () => {
  it('has its numbers withheld, and fills them when it reports late', async () => {
    await create('late', 10);
    await stopLedger();
    const { proxy, slow } = await startCutOffClaims();
    await claimAll('late', ['ann'], slow);
    const told = await claimAll('late', ['bob', 'cid'], slow);
    proxy.misbehave('refuse');
    await redisServer.restart();
    ledger = await installation.startLedger();
    await everyShardOpen();
    expect(await coupons.show('late')).toMatchObject({ withheld: 10 });
    expect(numbers(await claimAll('late', ['dan']))).toEqual(['fenced']);

    proxy.behave();
    await waitFor(async () => (await coupons.show('late')).withheld === 0, { what: 'the late report' });
    expect(
      await waitFor(
        async () => {
          const again = numbers(await claimAll('late', ['bob', 'cid']));
          return !again.includes('fenced') && again;
        },
        { what: 'the shard to open again' },
      ),
    ).toEqual(numbers(told));
    // Numbers 4 to 10 stay void.
    expect(numbers(await claimAll('late', users(8)))).toEqual([11, 12, 13, 14, 15, 16, 17, 'sold_out']);
    await outboxEmpty();
    expect(await violated()).toEqual([]);
  });

  it('tells nobody anything of an epoch that it has reported', async () => {
    await create('promised', 10);
    const reply = await startSlowRedis();
    // Redis knows the script by now: it takes one request.
    await claimAll('promised', ['bob']);
    reply.proxy.misbehave('hold-reply');
    const answer = reply.claims.claim('promised', 'ann');
    await waitFor(async () => (await coupons.show('promised')).live?.claimed === 2, { what: 'the script to run' });
    const shard = shardOf('promised', SHARDS);
    const before = await readShard(installation.mysql, shard);
    await coupons.rebuildShard(shard);
    const isRebuilt = async (): Promise<boolean> => {
      const { epoch, state } = await readShard(installation.mysql, shard);
      return epoch > before.epoch && state === 'open';
    };
    await waitFor(isRebuilt, { what: 'the shard to be rebuilt' });
    reply.proxy.behave();
    expect(await answer).toEqual({ status: 'refused', code: 'outcome_unknown' });
  });
});

it('an outbox that is deleted under an open shard costs nothing that a living worker told', async () => {
  await create('deleted', 10);
  await stopLedger();
  const told = await claimAll('deleted', ['ann', 'bob']);
  await installation.redis.del(outboxKey(shardOf('deleted', SHARDS)));
  ledger = await installation.startLedger();
  await waitFor(async () => (await installation.claimRows('deleted')).length === 2, { what: 'both rows' });
  await everyShardOpen();
  expect(numbers(await claimAll('deleted', ['ann', 'bob', 'cid']))).toEqual([...numbers(told), 3]);
});

it('a worker leaves the register when it stops with nothing unconfirmed, and stays in it otherwise', async () => {
  await create('leaving', 10);
  await claimAll('leaving', ['ann']);
  await claims.stop(Date.now() + 20_000);
  expect(await registrations()).toBe(0);
  claims = await installation.startClaims();
  await stopLedger();
  await claimAll('leaving', ['bob']);
  await claims.stop();
  expect(await registrations()).toBe(SHARDS);
});

/** Takes the last bytes of the append-only file of a Redis that has ended. */
async function cutOff(dataFolder: string, bytes: number): Promise<void> {
  const folder = join(dataFolder, 'appendonlydir');
  const [name = ''] = (await readdir(folder)).filter((file) => file.endsWith('.incr.aof'));
  const file = join(folder, name);
  await truncate(file, (await stat(file)).size - bytes);
}

const noWrites = (): Promise<never> => Promise.reject(new Error('nothing is to be written'));

async function claimedBy(couponId: string, user: string): Promise<number | undefined> {
  const outcome = await claims.claim(couponId, user);
  return outcome.status === 'refused' ? undefined : outcome.receipt.claimNo;
}

/** A ledger has been given every entry of the outbox of the coupon's shard. */
async function allIsRead(couponId: string): Promise<boolean> {
  const key = outboxKey(shardOf(couponId, SHARDS));
  const [count] = (await installation.redis.xpending(key, 'ledger')) as [number];
  return count === (await installation.redis.xlen(key));
}

/** A worker that may have answered under the epoch of the coupon's shard, and whose process has ended. */
async function registerDead(couponId: string): Promise<string> {
  const worker = `dead-${couponId}`;
  const shard = shardOf(couponId, installation.settings.shardCount);
  const { epoch } = await readShard(installation.mysql, shard);
  await insertWorker(
    installation.mysql,
    { worker, process: { ...thisProcess(), ...(await endedProcess()) } },
    'http-9',
  );
  await registerEpochs(installation.mysql, worker, [{ shard, epoch }]);
  return worker;
}

async function endedProcess(): Promise<ProcessIdentity> {
  const child = spawn('sleep', ['60']);
  const identity = identify(child.pid ?? 0);
  if (identity === undefined) throw new Error('the child has no identity');
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  return identity;
}

async function isRegistered(worker: string): Promise<boolean> {
  const [rows] = await installation.mysql.query<never[]>('SELECT 1 FROM worker_epoch WHERE worker = ?', [worker]);
  return rows.length > 0;
}

async function registrations(): Promise<number> {
  const [rows] = await installation.mysql.query<never[]>('SELECT 1 FROM worker_epoch');
  return rows.length;
}

/** A claim service whose way to MySQL can be cut. */
async function startCutOffClaims(): Promise<{ proxy: FaultProxy; slow: AwaitedClaims }> {
  const url = new URL(installation.settings.mysqlUrl ?? '');
  const proxy = await startProxy(Number(url.port));
  url.port = String(proxy.port);
  return { proxy, slow: await installation.startClaims({ mysqlUrl: url.href }) };
}

/** A claim service whose way to Redis can be held up. */
async function startSlowRedis(): Promise<{ proxy: FaultProxy; claims: AwaitedClaims }> {
  const url = new URL(installation.settings.redisUrl ?? '');
  const proxy = await startProxy(Number(url.port));
  url.port = String(proxy.port);
  return { proxy, claims: await installation.startClaims({ redisUrl: url.href, claimTimeoutMs: 30_000 }) };
}

async function startProxy(port: number): Promise<FaultProxy> {
  const proxy = await FaultProxy.start(port, Math.random);
  atEndOfFile(() => proxy.stop());
  return proxy;
}
