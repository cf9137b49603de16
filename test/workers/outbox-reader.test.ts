// The reader of many shards of which one has no room: the real reader and shards, and a real Redis.
import { expect, it, vi } from 'vitest';
import { outboxKey } from '../../coupons/keys.js';
import { loadScripts } from '../../lua/scripts.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import { createOutboxReaders } from '../../workers/ledger/outbox-reader.js';
import { ShardLedger } from '../../workers/ledger/shard-ledger.js';
import type { OutboxResult, OutboxTask } from '../../workers/ledger/write-outbox.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { createInstallation } from '../harness/installation.js';
import { waitFor } from '../harness/wait-for.js';

const EPOCH = 1;
const BUSY = 0;
/** Far more than a shard and a read hold. */
const ENTRIES = 10_000;

it('does not wait for the other shards while one has no room', async () => {
  const installation = await createInstallation({ SHARD_COUNT: '2' });
  const opener = await installation.startLedger();
  await installation.startClaims();
  await opener.drain();
  const { redis, settings, log } = installation;
  const { ledgerWindow, redisUrl = '' } = settings;
  await redis.eval(
    `for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'n', i) end`,
    1,
    outboxKey(BUSY),
    String(ENTRIES),
  );

  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let most = 0;
  const writeOutbox = async ({ entries }: OutboxTask): Promise<OutboxResult> => {
    most = Math.max(most, entries.length);
    await released;
    return {
      status: 'written',
      ids: entries.map(([id]) => id),
      claims: 0,
      refused: [],
      early: [],
      foreign: [],
      coupons: new Map(),
    };
  };
  const context = { redis, scripts: loadScripts(), writeOutbox, ledgerWindow, log };
  const shards = [0, 1].map((shard) => new ShardLedger(shard, context));
  const reading = connectRedis(redisUrl, { kind: 'request', commandTimeoutMs: 10_000 }, log);
  await whenRedisReady(reading, 10_000);
  const reads = vi.spyOn(reading, 'xreadgroup');
  const [reader] = createOutboxReaders(reading, 'ours', shards, log);
  atEndOfFile(async () => {
    release();
    await reader?.stop();
    await Promise.all(shards.map((shard) => shard.close()));
    reading.disconnect();
  });
  for (const shard of shards) shard.open(EPOCH);
  reader?.start();

  await waitFor(() => reads.mock.calls.length > 0 && shards[BUSY]?.nextRead() === undefined, { what: 'a full shard' });
  const before = reads.mock.calls.length;
  await waitFor(() => reads.mock.calls.length >= before + 3, { what: 'reads of the other shard' });
  for (const read of reads.mock.calls.slice(before).map(String)) {
    expect(read).toContain(outboxKey(1));
    expect(read).not.toContain('BLOCK');
  }
  release();
  await waitFor(async () => (await redis.xlen(outboxKey(BUSY))) === 0, { what: 'all entries to be written' });
  // What is acknowledged in one step.
  expect(most).toBe(2_000);
  // Then it waits again.
  await waitFor(() => String(reads.mock.lastCall).includes('BLOCK'), { what: 'a read that waits' });
});
