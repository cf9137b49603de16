// A return whose claim another ledger has in hand: two ledgers of one shard, the real reader and the real scripts, a real Redis
// and a real MariaDB.
import { beforeEach, expect, it } from 'vitest';
import type { CouponsService } from '../../coupons/coupons.js';
import { LEDGER_GROUP, outboxKey } from '../../coupons/keys.js';
import type { OutboxEntry, RawEntry } from '../../coupons/outbox.js';
import { parseEntry } from '../../coupons/outbox.js';
import { loadScripts } from '../../lua/scripts.js';
import type { Connection, RowDataPacket } from '../../platform/mysql.js';
import { connectMysql } from '../../platform/mysql.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import { acknowledge } from '../../workers/ledger/acknowledge.js';
import { createOutboxReaders } from '../../workers/ledger/outbox-reader.js';
import { ShardLedger } from '../../workers/ledger/shard-ledger.js';
import type { OutboxTask } from '../../workers/ledger/write-outbox.js';
import { writeOutboxBatch } from '../../workers/ledger/write-outbox.js';
import { writeBatch } from '../../workers/ledger/write.js';
import type { AwaitedClaims } from '../harness/awaited-claims.js';
import { atEndOfFile } from '../harness/cleanup.js';
import type { Installation } from '../harness/installation.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

const SHARD = 0;
const EPOCH = 1;
const MINUTE_MS = 60_000;
let installation: Installation;
let claims: AwaitedClaims;
let coupons: CouponsService;
/** One for each ledger. */
let ours: Connection;
let others: Connection;

beforeEach(async () => {
  installation = await createInstallation({ SHARD_COUNT: '1' });
  const opener = await installation.startLedger();
  claims = await installation.startClaims();
  coupons = await installation.startCoupons();
  await coupons.create({
    ...{ couponId: 'sale', total: 5, opensAt: null, closesAt: null, ack: 'redis', returnable: true },
  });
  await opener.drain();
  const { mysqlUrl = '' } = installation.settings;
  [ours, others] = [await connectMysql(mysqlUrl), await connectMysql(mysqlUrl)];
  atEndOfFile(() => ours.end());
  atEndOfFile(() => others.end());
});

/** The other ledger is given the claims of these users. */
async function claimsInOtherHands(...users: string[]): Promise<OutboxEntry[]> {
  for (const user of users) await claims.claim('sale', user);
  const reply = (await installation.redis.xreadgroup(
    ...(['GROUP', LEDGER_GROUP, 'other', 'STREAMS', outboxKey(SHARD), '>'] as const),
  )) as [string, RawEntry[]][];
  return (reply[0]?.[1] ?? []).flatMap(parseEntry).filter((entry): entry is OutboxEntry => entry.kind !== 'poison');
}

async function giveBack(user: string): Promise<void> {
  expect(await claims.returnClaim('sale', user)).toMatchObject({ status: 'returned' });
}

/** Milliseconds; stands still but where a test moves it. */
let now = 0;

/** Gives the users of the batches that our ledger has tried to write so far. */
async function startOurs(): Promise<readonly string[][]> {
  const { redis, settings, log } = installation;
  const { ledgerWindow } = settings;
  const attempts: string[][] = [];
  const writeOutbox = (task: OutboxTask) => {
    const entries = task.entries.flatMap(parseEntry);
    attempts.push(entries.flatMap((entry) => ('userId' in entry ? [entry.userId] : [])));
    return writeOutboxBatch(ours, task);
  };
  const scripts = loadScripts();
  const ledger = new ShardLedger(SHARD, { redis, scripts, writeOutbox, ledgerWindow, log, now: () => now });
  const reading = connectRedis(settings.redisUrl ?? '', { kind: 'request', commandTimeoutMs: 10_000 }, log);
  await whenRedisReady(reading, 10_000);
  const readers = createOutboxReaders(reading, 'ours', [ledger], log);
  atEndOfFile(async () => {
    await Promise.all(readers.map((reader) => reader.stop()));
    await ledger.close();
    reading.disconnect();
  });
  ledger.open(EPOCH);
  for (const reader of readers) reader.start();
  return attempts;
}

const letters = async () => (await coupons.deadLetters.list({ after: 0, limit: 10 })).letters;
const rows = async () => {
  const [found] = await installation.mysql.query<RowDataPacket[]>('SELECT user_id, returned_at FROM coupon_claim_log');
  return found.map((row) => [String(row['user_id']), row['returned_at'] !== null]);
};

it('waits in the outbox until the claim is there, and keeps nobody else waiting', async () => {
  const held = await claimsInOtherHands('ann');
  await giveBack('ann');
  const attempts = await startOurs();
  await waitFor(() => attempts.length > 3, { what: 'several attempts' });
  await claims.claim('sale', 'bob');
  await waitFor(async () => (await rows()).length === 1, { what: "bob's row" });
  expect(await rows()).toEqual([['bob', false]]);
  await waitFor(async () => (await installation.outboxEntries()) === 2, { what: "bob's entry to leave the outbox" });
  expect(await letters()).toEqual([]);

  // The other ledger goes on.
  const { redis, settings } = installation;
  const task = { shard: SHARD, epoch: EPOCH, entries: held, ledgerWindow: settings.ledgerWindow };
  expect(await writeBatch(others, task)).toMatchObject({ status: 'written', refused: [] });
  const ids = held.map(({ id }) => id);
  await acknowledge(redis, loadScripts(), { shard: SHARD, epoch: EPOCH, state: 'open', ids, coupons: new Map() });
  await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'an empty outbox' });
  expect((await rows()).sort()).toEqual([
    ['ann', true],
    ['bob', false],
  ]);
  expect(await letters()).toEqual([]);
  // The unit is back in stock, once.
  expect(await coupons.show('sale')).toMatchObject({ live: { remaining: 4 } });
});

it('becomes a dead letter when the claim has not come for a minute, whatever else the shard writes meanwhile', async () => {
  await claimsInOtherHands('ann', 'eve');
  await giveBack('ann');
  const attempts = await startOurs();
  const triedAgain = async (user: string) => {
    const before = attempts.length;
    const times = () => attempts.slice(before).filter((users) => users.includes(user)).length;
    // The first of them may have begun before.
    await waitFor(() => times() > 2, { what: `${user} to be tried again` });
  };
  await triedAgain('ann');
  for (const [index, user] of ['bob', 'cid', 'dan'].entries()) {
    now += MINUTE_MS / 3 - 1;
    await claims.claim('sale', user);
    await waitFor(async () => (await rows()).length === index + 1, { what: `the row of ${user}` });
    await triedAgain('ann');
  }
  expect(await letters()).toEqual([]);
  // Another one has its own minute.
  await giveBack('eve');
  await triedAgain('eve');
  now += 3;
  await waitFor(async () => (await letters()).length === 1, { what: 'the dead letter' });
  expect(await letters()).toMatchObject([{ kind: 'return', userId: 'ann' }]);
  await triedAgain('eve');
  expect(await letters()).toHaveLength(1);
  now += MINUTE_MS - 3;
  await waitFor(async () => (await letters()).length === 2, { what: 'the other dead letter' });
  await waitFor(async () => (await installation.outboxEntries()) === 2, { what: 'their entries to leave the outbox' });
});
