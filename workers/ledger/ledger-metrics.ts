// What the ledger counts and measures: rows on their way to MySQL, what waits in the outbox and for how long, the shards and
// the writer threads. Looks at Redis and MySQL only when somebody asks for the metrics, and reads only.
import { outboxKey } from '../../coupons/keys.js';
import { sizeOf } from '../../coupons/outbox.js';
import { readShards } from '../../coupons/shards.js';
import { readWithheld } from '../../coupons/withheld.js';
import type { Histogram, Metrics } from '../../platform/metrics/metrics.js';
import type { Pool } from '../../platform/mysql.js';
import type { Redis } from '../../platform/redis.js';
import { mastersOf } from '../../platform/redis.js';
import type { ShardLedger } from './shard-ledger.js';
import type { OutboxResult } from './write-outbox.js';
import type { WriteResult } from './write.js';
import type { WriteEntries, WriteOutbox, WriterPool } from './writer-pool.js';

/** Seconds. One transaction of up to 5,000 rows. */
const WRITE_DURATION_BUCKETS = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const BATCH_ROWS_BUCKETS = [1, 5, 10, 50, 100, 250, 500, 1_000, 2_000, 5_000];
const ENTRIES_HELP = 'Outbox entries that are not acknowledged; each holds up to 100 claims of one script call.';
const SHARD_STATES = ['open', 'rebuilding', 'fenced'] as const;

/**
 * The writes of a pool, counted and timed. Counts what MySQL was found to hold after each write, so a batch that came twice counts
 * twice.
 */
export function measuredWrites(
  pool: Pick<WriterPool, 'write' | 'writeOutbox'>,
  metrics: Metrics,
): { write: WriteEntries; writeOutbox: WriteOutbox } {
  const rows = metrics.counter('stampede_ledger_rows_total', 'Claims that MySQL was found to hold after a write.');
  const failures = metrics.counter('stampede_ledger_write_failures_total', 'Batches that MySQL did not take.');
  const duration = metrics.histogram(
    'stampede_ledger_write_duration_seconds',
    'One batch into MySQL, waiting for company and for a thread included.',
    WRITE_DURATION_BUCKETS,
  );
  const sizes: Histogram = metrics.histogram(
    'stampede_ledger_batch_size',
    'Claims, returns and changes of one batch, which is of one shard; several batches may share a transaction.',
    BATCH_ROWS_BUCKETS,
  );
  const measured = async <T extends WriteResult | OutboxResult>(size: number, write: () => Promise<T>): Promise<T> => {
    const startedAt = performance.now();
    try {
      const result = await write();
      if (result.status === 'written') rows.inc(result.claims);
      return result;
    } catch (error) {
      failures.inc();
      throw error;
    } finally {
      sizes.observe(size);
      duration.observe((performance.now() - startedAt) / 1_000);
    }
  };
  return {
    write: (task) => measured(task.entries.length, () => pool.write(task)),
    writeOutbox: (task) =>
      measured(
        task.entries.reduce((sum, raw) => sum + sizeOf(raw), 0),
        () => pool.writeOutbox(task),
      ),
  };
}

/** What stands in the streams, whoever is to write it. An entry may hold many claims: how many, only reading all of them would tell. */
export function watchOutbox(redis: Redis, shardCount: number, metrics: Metrics): void {
  const entries = metrics.gauge('stampede_outbox_entries', ENTRIES_HELP, [], 'max');
  const lag = metrics.gauge('stampede_ledger_lag_seconds', 'Age of the oldest outbox entry; 0 without any.', [], 'max');
  metrics.collect('outbox', [entries, lag], async () => {
    const keys = Array.from({ length: shardCount }, (_, shard) => outboxKey(shard));
    const [lengths, oldest, seconds] = await Promise.all([
      Promise.all(keys.map((key) => redis.xlen(key))),
      Promise.all(keys.map((key) => redis.xrange(key, '-', '+', 'COUNT', 1))),
      // Ages by the clocks that made the ids; the servers of a cluster are taken to agree.
      mastersOf(redis)[0]?.time(),
    ]);
    const times = oldest.flatMap((first) => first.map(([id]) => Number.parseInt(id)));
    entries.set(lengths.reduce((sum, length) => sum + length, 0));
    lag.set(times.length === 0 ? 0 : Math.max(0, Number(seconds?.[0]) - Math.min(...times) / 1_000));
  });
}

/** A shard counts as open when MySQL has it open and this process serves it under that epoch. */
export function watchShards(mysql: Pool, shards: readonly ShardLedger[], metrics: Metrics): void {
  const gauge = metrics.gauge('stampede_shards', 'Shards by state; claims go on in open ones.', ['state'], 'max');
  metrics.collect('shards', [gauge], async () => {
    const rows = await readShards(mysql);
    for (const state of SHARD_STATES) gauge.set({ state }, 0);
    for (const { shard, epoch, state } of rows) {
      const closed = state === 'open' && shards[shard]?.epoch !== epoch;
      gauge.inc({ state: closed ? 'fenced' : state });
    }
  });
}

/** Over all coupons, however old: what waits for workers that cannot be heard, or for an operator. */
export function watchWithheld(mysql: Pool, metrics: Metrics): void {
  const units = metrics.gauge(
    'stampede_withheld_units',
    'Units kept back for workers that cannot be heard.',
    [],
    'max',
  );
  metrics.collect('withheld', [units], async () => {
    units.set([...(await readWithheld(mysql)).values()].reduce((sum, one) => sum + one, 0));
  });
}

export function watchWriters(pool: WriterPool, metrics: Metrics): void {
  const threads = metrics.gauge('stampede_writer_threads', 'Piscina threads that write to MySQL.');
  const waiting = metrics.gauge(
    'stampede_ledger_waiting_batches',
    'Batches that wait for company or for a writer thread; one of a shard at the most.',
  );
  const busy = metrics.gauge(
    'stampede_writer_utilization_ratio',
    'Part of the time since the last look that a writer thread was not idle.',
    ['thread'],
    'max',
  );
  metrics.collect('writers', [threads, waiting, busy], () => {
    const load = pool.load();
    const { utilizations } = load;
    threads.set(utilizations.length);
    waiting.set(load.waiting);
    utilizations.forEach((ratio, index) => busy.set({ thread: String(index + 1) }, ratio));
  });
}
