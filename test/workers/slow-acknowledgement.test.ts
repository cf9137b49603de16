// A ledger that is held up, by an acknowledgement that does not come through or by MySQL, while others come: the real reader,
// scripts and writes, a real Redis and a real MariaDB.
import { beforeEach, expect, it } from 'vitest';
import { LEDGER_GROUP, outboxKey } from '../../coupons/keys.js';
import { parseEntry } from '../../coupons/outbox.js';
import { loadScripts } from '../../lua/scripts.js';
import { connectMysql } from '../../platform/mysql.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import { createOutboxReaders } from '../../workers/ledger/outbox-reader.js';
import { ShardLedger } from '../../workers/ledger/shard-ledger.js';
import type { OutboxTask } from '../../workers/ledger/write-outbox.js';
import { writeOutboxBatch } from '../../workers/ledger/write-outbox.js';
import type { AwaitedClaims } from '../harness/awaited-claims.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { users } from '../harness/crowd.js';
import { failingAt } from '../harness/failing-script.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

const SHARD = 0;
const EPOCH = 1;
let installation: Installation;
let claims: AwaitedClaims;
let ledger: ShardLedger;
let failing: boolean;
/** Users of the batches that were written. */
let batches: string[][];
/** Ids of the entries that each write was given. */
let ids: Set<string>[];
/** Writes wait for it. */
let mysqlIsThere: Promise<void>;
const written = () => batches.flat();

beforeEach(async () => {
  installation = await createInstallation({ SHARD_COUNT: '1' });
  const opener = await installation.startLedger();
  claims = await installation.startClaims();
  const coupons = await installation.startCoupons();
  await coupons.create({
    ...{ couponId: 'sale', total: 5, opensAt: null, closesAt: null, ack: 'redis', returnable: false },
  });
  await opener.drain();

  const { redis, settings, log } = installation;
  const { ledgerWindow, mysqlUrl = '', redisUrl = '' } = settings;
  const connection = await connectMysql(mysqlUrl);
  atEndOfFile(() => connection.end());
  failing = true;
  batches = [];
  ids = [];
  mysqlIsThere = Promise.resolve();
  const writeOutbox = async (task: OutboxTask) => {
    ids.push(new Set(task.entries.map(([id]) => id)));
    await mysqlIsThere;
    const result = await writeOutboxBatch(connection, task);
    const entries = task.entries.flatMap(parseEntry);
    batches.push(entries.flatMap((entry) => (entry.kind === 'grant' ? [entry.userId] : [])));
    return result;
  };
  const scripts = loadScripts();
  const trouble = { ...scripts, acknowledge: failingAt(scripts.acknowledge, 1) };
  const context = {
    ...{ redis, writeOutbox, ledgerWindow, log },
    get scripts() {
      return failing ? trouble : scripts;
    },
  };
  ledger = new ShardLedger(SHARD, context);
  const reading = connectRedis(redisUrl, { kind: 'request', commandTimeoutMs: 10_000 }, log);
  await whenRedisReady(reading, 10_000);
  const readers = createOutboxReaders(reading, 'ours', [ledger], log);
  atEndOfFile(async () => {
    await Promise.all(readers.map((reader) => reader.stop()));
    await ledger.close();
    reading.disconnect();
  });
  ledger.open(EPOCH);
  for (const reader of readers) reader.start();
  await claims.claim('sale', 'ann');
  await waitFor(() => written().includes('ann'), { what: "ann's row" });
});

/** Entries that the ledger was given and has not acknowledged. */
async function heldByLedger(): Promise<number> {
  const [count] = await installation.redis.xpending(outboxKey(SHARD), LEDGER_GROUP);
  return Number(count);
}

it('does not keep the next batch out of MySQL, and no other out of bounds', async () => {
  await claims.claim('sale', 'bob');
  await waitFor(() => written().includes('bob'), { what: "bob's row" });
  // One batch behind is the most: what comes now waits, so it becomes one batch, though it comes one by one.
  for (const [user, held] of [['cid', 3] as const, ['dan', 4] as const]) {
    await claims.claim('sale', user);
    await waitFor(async () => (await heldByLedger()) === held, { what: `${user}'s entry at the ledger` });
  }

  failing = false;
  await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'an empty outbox' });
  // Nothing was written again for the sake of its acknowledgement.
  expect(batches).toEqual([['ann'], ['bob'], ['cid', 'dan']]);
  await waitFor(() => ledger.idle, { what: 'the ledger to rest' });
});

it('leaves everything that is not acknowledged to the next rebuild', async () => {
  await claims.claim('sale', 'bob');
  await waitFor(() => written().includes('bob'), { what: "bob's row" });
  await ledger.close();
  expect(ledger.leftovers.map(({ userId }) => userId)).toEqual(['ann', 'bob']);
});

it('reads no more than it may hold, counted in claims, and divides no entry between two batches', async () => {
  failing = false;
  await waitFor(() => ledger.idle, { what: 'the ledger to rest' });
  let mysqlComes = (): void => undefined;
  mysqlIsThere = new Promise((resolve) => {
    mysqlComes = resolve;
  });
  const [entries, claimsEach] = [300, 99];
  for (let entry = 0; entry < entries; entry++) {
    const first = 1_000 + entry * claimsEach;
    const numbers = `${first}-${first + claimsEach - 1}`;
    const crowd = users(claimsEach, `user-${entry}`).join('\n');
    const fields = [
      'at',
      '1795770000000',
      'epoch',
      String(EPOCH),
      'coupon',
      'sale',
      'numbers',
      numbers,
      'users',
      crowd,
    ];
    await installation.redis.xadd(outboxKey(SHARD), '*', 'kind', 'grants', ...fields);
  }
  await waitFor(() => ledger.nextRead() === undefined, { what: 'the ledger to have enough' });
  expect(await heldByLedger()).toBeLessThan(entries);

  mysqlComes();
  await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'an empty outbox' });
  expect(await installation.claimRows('sale')).toHaveLength(1 + entries * claimsEach);
  expect(Math.max(...batches.map((batch) => batch.length))).toBe(50 * claimsEach);
  const all = ids.flatMap((one) => [...one]);
  expect(new Set(all).size).toBe(all.length);
});
