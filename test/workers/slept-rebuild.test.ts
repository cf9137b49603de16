// A rebuild that stands still between any two of its steps, while another ledger finishes the rebuild and claims go on, and then
// goes on itself: it opens, writes and loads nothing. On a real Redis and a real MariaDB.
import { expect, it } from 'vitest';
import { couponKeys, fenceKey, outboxKey, shardOf } from '../../coupons/keys.js';
import { readShard } from '../../coupons/shards.js';
import type { ScriptName } from '../../lua/scripts.js';
import { loadScripts } from '../../lua/scripts.js';
import type { Pool } from '../../platform/mysql.js';
import { connectMysql } from '../../platform/mysql.js';
import type { Redis } from '../../platform/redis.js';
import type { RebuildContext } from '../../workers/ledger/rebuild/lease.js';
import { RebuildOvertaken } from '../../workers/ledger/rebuild/lease.js';
import { rebuildShard } from '../../workers/ledger/rebuild/rebuild.js';
import type { WriteTask } from '../../workers/ledger/write.js';
import { writeBatch } from '../../workers/ledger/write.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

const SHARDS = 2;
const { signal } = new AbortController();
const scripts = loadScripts();

/** Stops whoever calls `here`, once, until `wake`. */
class Sleep {
  readonly begun: Promise<void>;
  wake: () => void = () => undefined;
  #begin: () => void = () => undefined;
  readonly #woken: Promise<void>;
  #slept = false;

  constructor() {
    this.begun = new Promise((resolve) => (this.#begin = resolve));
    this.#woken = new Promise((resolve) => (this.wake = resolve));
  }

  async here(): Promise<void> {
    if (this.#slept) return;
    this.#slept = true;
    this.#begin();
    await this.#woken;
  }
}

/** A rebuild with it stands still before it runs this script. */
function asleepBefore(script: ScriptName): (context: RebuildContext, sleep: Sleep) => RebuildContext {
  return (context, sleep) => {
    const evalsha = async (sha1: string, ...rest: [number, ...string[]]): Promise<unknown> => {
      if (sha1 === scripts[script].sha1) await sleep.here();
      return await context.redis.evalsha(sha1, ...rest);
    };
    const redis = new Proxy(context.redis, {
      get: (target: Redis, name) => (name === 'evalsha' ? evalsha : bound(target, name)),
    });
    return { ...context, redis };
  };
}

/** A rebuild with it stands still before a statement with this text. */
function asleepAt(text: string): (context: RebuildContext, sleep: Sleep) => RebuildContext {
  return (context, sleep) => {
    const query = async (...args: Parameters<Pool['query']>): Promise<unknown> => {
      if (args[0].includes(text)) await sleep.here();
      return await context.mysql.query(...args);
    };
    const mysql = new Proxy(context.mysql, { get: (pool, name) => (name === 'query' ? query : bound(pool, name)) });
    return { ...context, mysql };
  };
}

/** Methods with private fields want the object itself. */
function bound(target: object, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name, target);
  return typeof value === 'function' ? (value.bind(target) as unknown) : value;
}

it.each([
  ['it has taken the shard', asleepBefore('rebuild_begin')],
  ['it has heard the witnesses', asleepAt('SELECT * FROM claim_report')],
  ['it has emptied a coupon', asleepBefore('load_receipts')],
  ['it has loaded the receipts', asleepBefore('load_finish')],
  ['it has loaded everything', asleepBefore('rebuild_open')],
  ['it has opened the shard in Redis', asleepAt("SET state = 'open', opened_epoch")],
])('stopped when %s', async (_when, fallAsleep) => {
  const installation = await createInstallation({ SHARD_COUNT: String(SHARDS) });
  const { mysql, redis, log } = installation;
  const opener = await installation.startLedger();
  const [claims, coupons] = [await installation.startClaims(), await installation.startCoupons()];
  await coupons.create({
    ...{ couponId: 'sale', total: 5, opensAt: null, closesAt: null, ack: 'redis', returnable: false },
  });
  expect(await claims.claim('sale', 'ann')).toMatchObject({ receipt: { claimNo: 1 } });
  await opener.drain();
  const writer = await connectMysql(installation.settings.mysqlUrl ?? '');
  atEndOfFile(() => writer.end());
  const context: RebuildContext = {
    ...{ redis, mysql, scripts, log, ledgerWindow: 10, owner: 'same owner' },
    write: (task: WriteTask) => writeBatch(writer, task),
  };
  const shard = shardOf('sale', SHARDS);
  const epoch = async () => (await readShard(mysql, shard)).epoch;
  const everything = async () => {
    const keys = couponKeys(shard, 'sale');
    return {
      fence: await redis.hgetall(fenceKey(shard)),
      outbox: await redis.xrange(outboxKey(shard), '-', '+'),
      coupon: await redis.hgetall(keys.coupon),
      stock: await redis.get(keys.stock),
      receipts: await redis.hgetall(keys.claimedUser),
      rows: await installation.claimRows('sale'),
      shard: await readShard(mysql, shard),
    };
  };

  const sleep = new Sleep();
  const sleeper = rebuildShard(fallAsleep(context, sleep), shard, await epoch(), signal).catch(
    (error: unknown) => error,
  );
  await sleep.begun;
  expect(await rebuildShard(context, shard, await epoch(), signal)).toBe(3);
  // Under the newer epoch; the stopped one knows nothing of it.
  await waitFor(async () => (await claims.claim('sale', 'bob')).status !== 'refused', { what: "bob's claim" });
  const before = await everything();
  sleep.wake();
  expect(await sleeper).toBeInstanceOf(RebuildOvertaken);
  expect(await everything()).toEqual(before);
  expect(await claims.claim('sale', 'ann')).toMatchObject({ status: 'already_claimed', receipt: { claimNo: 1 } });
  expect(await claims.claim('sale', 'cid')).toMatchObject({ status: 'claimed', receipt: { claimNo: 3 } });
});
