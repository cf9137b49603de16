// What a process knows of the shards: their number, which one a coupon is in, and the epoch of each, as MySQL (the
// authority) has it. An epoch that is out of date is harmless: the script refuses it, and the answer is to read again.
import type { Pool, Queryable, ResultSetHeader, RowDataPacket } from '../platform/mysql.js';
import { ConfigurationError } from '../platform/errors.js';
import { shardOf } from './keys.js';

/** While a shard is known to be closed, its row is read again this often at the most. */
const REFRESH_INTERVAL_MS_MIN = 100;

export interface ShardRow {
  readonly shard: number;
  readonly epoch: number;
  /** Up to this one it is settled who holds what. */
  readonly gatheredEpoch: number;
  readonly state: 'fenced' | 'rebuilding' | 'open';
}

export class Shards {
  readonly count: number;
  readonly #mysql: Pool;
  #rows = new Map<number, ShardRow>();
  #refreshing: Promise<void> | undefined;
  #refreshedAt = -Infinity;

  constructor(mysql: Pool, count: number) {
    this.#mysql = mysql;
    this.count = count;
  }

  shardOf(couponId: string): number {
    return shardOf(couponId, this.count);
  }

  /** Undefined until the first successful `refresh`. */
  epochOf(shard: number): number | undefined {
    return this.#rows.get(shard)?.epoch;
  }

  /** True when every shard was open at the last `refresh`. */
  allOpen(): boolean {
    return this.#rows.size === this.count && [...this.#rows.values()].every((row) => row.state === 'open');
  }

  /** True when at least one was: the coupons of the others have to wait, and those of this one need not. */
  anyOpen(): boolean {
    return [...this.#rows.values()].some((row) => row.state === 'open');
  }

  known(): boolean {
    return this.#rows.size === this.count;
  }

  /** Reads all epochs. Concurrent callers share one read; calls that come right after one another are answered from it. */
  async refresh(): Promise<void> {
    if (this.#refreshing === undefined && performance.now() - this.#refreshedAt < REFRESH_INTERVAL_MS_MIN) return;
    this.#refreshing ??= this.#read().finally(() => {
      this.#refreshing = undefined;
    });
    await this.#refreshing;
  }

  async #read(): Promise<void> {
    const rows = await readShards(this.#mysql);
    this.#refreshedAt = performance.now();
    this.#rows = new Map(rows.map((row) => [row.shard, row]));
  }
}

/** An open shard is to be rebuilt: the ledger sees it within a fraction of a second. Claims go on until it takes the shard. */
export async function closeShard(mysql: Queryable, shard: number): Promise<void> {
  await mysql.query<ResultSetHeader>(
    "UPDATE shard SET state = 'fenced', updated_at = UTC_TIMESTAMP(3) WHERE shard = ? AND state = 'open'",
    [shard],
  );
}

/**
 * The same for a shard that may be under rebuild: that rebuild has read what holds no more, perhaps, so it is overtaken and
 * must not open. The caller holds the transaction of what has changed.
 */
export async function closeShardAnew(connection: Queryable, shard: number): Promise<void> {
  await connection.query<ResultSetHeader>(
    "UPDATE shard SET state = 'fenced', token = NULL, updated_at = UTC_TIMESTAMP(3) WHERE shard = ? AND state <> 'fenced'",
    [shard],
  );
}

/** Until the transaction ends, no rebuild takes these shards, or decides about them. In one order, against deadlocks. */
export async function lockShards(connection: Queryable, shards: readonly number[]): Promise<ShardRow[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    'SELECT shard, epoch, gathered_epoch, state FROM shard WHERE shard IN (?) ORDER BY shard FOR UPDATE',
    [shards],
  );
  return rows.map(shardRow);
}

/** All shard rows, ascending. */
export async function readShards(mysql: Queryable): Promise<ShardRow[]> {
  const [rows] = await mysql.query<RowDataPacket[]>(
    'SELECT shard, epoch, gathered_epoch, state FROM shard ORDER BY shard',
  );
  return rows.map(shardRow);
}

function shardRow(row: RowDataPacket): ShardRow {
  return {
    shard: Number(row['shard']),
    epoch: Number(row['epoch']),
    gatheredEpoch: Number(row['gathered_epoch']),
    state: row['state'] as ShardRow['state'],
  };
}

export async function readShard(mysql: Queryable, shard: number): Promise<ShardRow> {
  const row = (await readShards(mysql)).find((candidate) => candidate.shard === shard);
  if (row === undefined) throw new Error(`MySQL has no row for shard ${shard}`);
  return row;
}

/**
 * Fixes the number of shards at the very first start and holds every later one to it. Throws `ConfigurationError` when
 * the installation was made with another number.
 */
export async function ensureShards(mysql: Pool, count: number): Promise<void> {
  await mysql.query<ResultSetHeader>("INSERT IGNORE INTO installation (name, value) VALUES ('shard_count', ?)", [
    String(count),
  ]);
  const [rows] = await mysql.query<RowDataPacket[]>("SELECT value FROM installation WHERE name = 'shard_count'");
  const fixed = Number(String(rows[0]?.['value']));
  if (fixed !== count) {
    throw new ConfigurationError(
      `SHARD_COUNT is ${count}, but this database was made with ${fixed}: it can never change.`,
    );
  }
  const shards = Array.from({ length: count }, (_, shard) => [shard, 0, 'fenced', new Date()]);
  await mysql.query<ResultSetHeader>('INSERT IGNORE INTO shard (shard, epoch, state, updated_at) VALUES ?', [shards]);
}
