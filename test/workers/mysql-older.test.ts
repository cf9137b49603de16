// A MySQL that is older than Redis, an old backup say: refused, and said so, until the newer one is restored or Redis is emptied. On a
// real Redis and a real MariaDB.
import { beforeEach, describe, expect, it } from 'vitest';
import type { CouponsService } from '../../coupons/coupons.js';
import { couponKeys, fenceKey, shardOf } from '../../coupons/keys.js';
import { findMysqlOlder } from '../../coupons/mysql-age.js';
import { readShard, readShards } from '../../coupons/shards.js';
import type { RowDataPacket } from '../../platform/mysql.js';
import { inTransaction } from '../../platform/mysql.js';
import { whenRedisReady } from '../../platform/redis.js';
import type { AwaitedClaims } from '../harness/awaited-claims.js';
import type { Installation, RunningLedger } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

const SHARDS = 2;
/** One of the shards is compared every five seconds. */
const FOUND_WITHIN_MS = 40_000;
const OLDER = ['mysql_older_than_redis'];
let installation: Installation;
let ledger: RunningLedger;
let claims: AwaitedClaims;
let coupons: CouponsService;

beforeEach(async () => {
  installation = await createInstallation({ SHARD_COUNT: String(SHARDS) });
  await start();
  coupons = await installation.startCoupons();
  await create('sale');
  await claim('ann');
});

const start = async (unready: readonly string[] = []): Promise<void> => {
  ledger = await installation.startLedger('ledger-1', undefined, unready);
  claims = await installation.startClaims({}, undefined, unready);
};
/** In order: the outbox is empty, and nobody is registered. */
const stop = async (): Promise<void> => {
  await claims.stop(Date.now() + 20_000);
  await ledger.drain();
};
const create = (couponId: string) =>
  coupons.create({ couponId, total: 10, opensAt: null, closesAt: null, ack: 'redis', returnable: false });
const claim = async (user: string): Promise<number | string> => {
  const outcome = await claims.claim('sale', user);
  return outcome.status === 'refused' ? outcome.code : outcome.receipt.claimNo;
};
const epochs = async () => (await readShards(installation.mysql)).map(({ epoch }) => epoch);
const tables = async (): Promise<string[]> => {
  const [rows] = await installation.mysql.query<RowDataPacket[]>(
    `SELECT table_name AS name FROM information_schema.tables
      WHERE table_schema = DATABASE() AND table_name NOT LIKE 'backup%'`,
  );
  return rows.map((row) => String(row['name']));
};
const backUp = async (name: string): Promise<void> => {
  for (const table of await tables()) {
    await installation.mysql.query('CREATE TABLE ?? LIKE ??', [`backup_${name}_${table}`, table]);
    await installation.mysql.query('INSERT INTO ?? SELECT * FROM ??', [`backup_${name}_${table}`, table]);
  }
};
/** In one transaction, tried again when a running service is in its way. */
const restore = async (name: string): Promise<void> => {
  const restored = await tables();
  await inTransaction(installation.mysql, async (connection) => {
    for (const table of restored) {
      await connection.query('DELETE FROM ??', [table]);
      await connection.query('INSERT INTO ?? SELECT * FROM ??', [table, `backup_${name}_${table}`]);
    }
  });
};
const restartRedis = async (): Promise<void> => {
  await installation.redisServer.restart();
  await whenRedisReady(installation.redis, 10_000);
};
const violated = async () =>
  (await coupons.audit()).invariants.filter(({ violations }) => violations > 0).map(({ examples }) => examples);

/** Several looks of the ledger and of the claim service go by, and nothing is claimed, opened, or counted up. */
async function expectRefused(finding: RegExp): Promise<void> {
  const before = await epochs();
  for (let look = 0; look < 3; look++) {
    expect(await claim(`new-${look}`)).toBe('fenced');
    // One look compares afresh, and has the result by the next answer.
    await expect(coupons.rebuildShard(shardOf('sale', SHARDS))).rejects.toMatchObject({
      code: 'mysql_older_than_redis',
      message: expect.stringMatching(finding) as string,
    });
  }
  expect((await coupons.shards())[shardOf('sale', SHARDS)]?.mysqlOlder).toMatch(finding);
  expect([ledger.unreadyReasons(), claims.unreadyReasons()]).toEqual([OLDER, OLDER]);
  expect(await epochs()).toEqual(before);
}

/** A change would take the number of one that Redis has, and pass for it: then nobody could see any more who is older. */
async function expectNoChanges(): Promise<void> {
  const refused = { code: 'mysql_older_than_redis' };
  const change = { delta: 5, reason: 'more', idempotencyKey: 'more', by: 'test' };
  await expect(coupons.adjust('sale', change)).rejects.toMatchObject(refused);
  await expect(coupons.pause('sale')).rejects.toMatchObject(refused);
  await expect(coupons.releaseWithheld('sale')).rejects.toMatchObject(refused);
  await expect(create('later')).rejects.toMatchObject(refused);
}

/** Stopped; what is in MySQL is older than what is in Redis, which has bob's claim. */
async function makeOlder(): Promise<void> {
  await stop();
  await backUp('older');
  await start();
  expect(await claim('bob')).toBe(2);
  await create('later');
  await stop();
  await backUp('newer');
  await restore('older');
}

describe('a MySQL that is older than Redis', () => {
  it('is refused while Redis goes on, and the newer one is served as soon as it is there, with every claim', async () => {
    await makeOlder();
    await start(OLDER);
    await expectRefused(/^coupon sale has ceiling \d+ in Redis and \d+ in MySQL$/);
    await expectNoChanges();
    await expectRefused(/^coupon sale has ceiling/);
    await restore('newer');
    await waitFor(async () => (await claim('bob')) === 2, { what: 'the shard to open' });
    expect(await claim('cid')).toBe(3);
    await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'an empty outbox' });
    expect(await violated()).toEqual([]);

    // It is found out under the running service, too, whose shards are all open.
    await restore('older');
    const reasons = () => [ledger.unreadyReasons(), claims.unreadyReasons()].join();
    await waitFor(() => reasons() === [OLDER, OLDER].join(), { what: 'both to refuse', timeoutMs: FOUND_WITHIN_MS });
    expect(await claim('dan')).toBe('fenced');
    expect((await readShard(installation.mysql, shardOf('sale', SHARDS))).epoch).toBe(1);
  });

  it('is refused where Redis was restarted, too, and served when that is emptied: what only Redis had is forgotten', async () => {
    await makeOlder();
    await restartRedis();
    await start(OLDER);
    await expectRefused(/^coupon sale has ceiling/);
    await stop();
    await installation.redis.flushall();
    await start();
    expect(await claim('ann')).toBe(1);
    expect(await claim('cid')).toBe(2);
    expect(await claim('bob')).toBe(3);
    await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'an empty outbox' });
    expect(await violated()).toEqual([]);
  });

  it('is seen by a coupon, a change, a claim or a rebuild that it does not have', async () => {
    await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'an empty outbox' });
    await stop();
    const shard = shardOf('sale', SHARDS);
    const finding = async (statement: string): Promise<string | undefined> => {
      await backUp('whole');
      await installation.mysql.query(statement);
      const found = await findMysqlOlder(installation, shard);
      await restore('whole');
      for (const table of await tables()) await installation.mysql.query('DROP TABLE ??', [`backup_whole_${table}`]);
      return found;
    };
    expect(await findMysqlOlder(installation, shard)).toBeUndefined();
    expect(await finding("DELETE FROM coupon WHERE coupon_id = 'sale'")).toBe(
      'coupon sale is in Redis and not in MySQL',
    );
    expect(await finding('UPDATE coupon SET version = 0')).toBe('coupon sale has version 1 in Redis and 0 in MySQL');
    expect(await finding('UPDATE coupon SET ceiling = ceiling - 1')).toBe(
      'coupon sale has ceiling 100001 in Redis and 100000 in MySQL',
    );
    expect(await finding('UPDATE shard SET epoch = 0')).toBe(`shard ${shard} has epoch 1 in Redis and 0 in MySQL`);

    // What is damaged says nothing: a rebuild mends it.
    const { coupon } = couponKeys(shard, 'sale');
    await installation.redis.hset(coupon, 'version', 'many');
    expect(await findMysqlOlder(installation, shard)).toBeUndefined();
    for (const key of [coupon, fenceKey(shard)]) {
      await installation.redis.set(key, 'of another type');
      expect(await findMysqlOlder(installation, shard)).toBeUndefined();
    }
  });

  it('is never suspected while claims, changes and rebuilds go on', async () => {
    let over = false;
    const traffic = (async () => {
      for (let i = 0; !over; i++) {
        await Promise.all(Array.from({ length: 20 }, (_, j) => claims.claim('busy', `user-${i}-${j}`)));
        await coupons
          .adjust('busy', { delta: 20, reason: 'more', idempotencyKey: `more-${i}`, by: 'test' })
          .catch(() => undefined);
        if (i % 10 === 5) await coupons.rebuildShard(shardOf('busy', SHARDS));
      }
    })();
    const shard = shardOf('busy', SHARDS);
    try {
      await create('busy');
      for (let look = 0, epoch = 0; look < 100 || epoch < 2; look++) {
        expect(await findMysqlOlder(installation, shard)).toBeUndefined();
        ({ epoch } = await readShard(installation.mysql, shard));
      }
    } finally {
      over = true;
      await traffic;
    }
  });
});
