// Watches over all shards: a shard that is not open where it should be (Redis restarted, failed over, lost keys, or the
// first start) is rebuilt; one that somebody else has rebuilt is opened here under its new epoch.
import type { Redis } from 'ioredis';
import { fenceKey, LEDGER_GROUP, outboxKey } from '../../coupons/keys.js';
import type { ShardRow } from '../../coupons/shards.js';
import { readShards } from '../../coupons/shards.js';
import { runScript } from '../../lua/scripts.js';
import { messageOf } from '../../platform/errors.js';
import { pause } from './backoff.js';
import type { RebuildContext } from './rebuild/lease.js';
import { RebuildOvertaken } from './rebuild/lease.js';
import { rebuildShard } from './rebuild/rebuild.js';
import type { ShardLedger } from './shard-ledger.js';

/** Bounds how long a shard stays fenced before its rebuild begins. */
const WATCH_INTERVAL_MS = 250;
/** Entries that a consumer was given and has not acknowledged for this long are taken over: it is dead, or as good as. */
const ABANDONED_AFTER_MS = 30_000;
/** After a rebuild that failed; the databases may be the reason. */
const REBUILD_PAUSE_MS = 1_000;
const TAKE_OVER_INTERVAL_MS = 5_000;
const TAKE_OVER_COUNT = 1_000;

export class ShardWatch {
  readonly #context: RebuildContext;
  readonly #consumer: string;
  readonly #shards: readonly ShardLedger[];
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;
  /** When a rebuild that failed may be tried again, by shard. */
  readonly #notBefore = new Map<number, number>();
  #takenOverAt = -Infinity;
  #trouble = '';

  constructor(context: RebuildContext, consumer: string, shards: readonly ShardLedger[]) {
    this.#context = context;
    this.#consumer = consumer;
    this.#shards = shards;
  }

  start(): void {
    this.#loop ??= this.#watch();
  }

  /** Resolves when a rebuild that is under way has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  /** True while the databases do not let it watch. */
  get blind(): boolean {
    return this.#trouble !== '';
  }

  /** Shards that this process does not serve. */
  closedShards(): number {
    return this.#shards.filter((shard) => shard.epoch === undefined).length;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#look();
        await this.#takeOver();
        this.#trouble = '';
      } catch (error) {
        this.#report(error);
      }
      await pause(WATCH_INTERVAL_MS, signal);
    }
  }

  async #look(): Promise<void> {
    const rows = await readShards(this.#context.mysql);
    const standing = await Promise.all(rows.map((row) => this.#stands(this.#context.redis, row)));
    for (const [index, row] of rows.entries()) {
      const shard = this.#shards[row.shard];
      if (shard === undefined || this.#stopping.signal.aborted) continue;
      if (standing[index] === true) {
        if (shard.epoch === row.epoch) continue;
        await shard.close();
        shard.open(row.epoch);
      } else {
        await shard.close();
        await this.#rebuild(shard, row.epoch);
      }
    }
  }

  async #stands(redis: Redis, row: ShardRow): Promise<boolean> {
    if (row.state !== 'open') return false;
    const { scripts } = this.#context;
    return (await runScript(redis, scripts.fence_state, [fenceKey(row.shard)], [row.epoch])) === 1;
  }

  /** A shard that cannot be rebuilt now is left for a later look, and never keeps the others waiting. */
  async #rebuild(shard: ShardLedger, seenEpoch: number): Promise<void> {
    if ((this.#notBefore.get(shard.shard) ?? 0) > performance.now()) return;
    const { log } = this.#context;
    try {
      const epoch = await rebuildShard(this.#context, shard.shard, seenEpoch);
      if (epoch !== undefined) shard.open(epoch);
      this.#notBefore.delete(shard.shard);
    } catch (error) {
      this.#notBefore.set(shard.shard, performance.now() + REBUILD_PAUSE_MS);
      if (error instanceof RebuildOvertaken) log.info({ shard: shard.shard }, `rebuild given up: ${error.message}`);
      else log.error({ err: error, shard: shard.shard }, 'rebuild failed, trying again');
    }
  }

  /** Entries of dead consumers become ours. */
  async #takeOver(): Promise<void> {
    if (performance.now() - this.#takenOverAt < TAKE_OVER_INTERVAL_MS) return;
    this.#takenOverAt = performance.now();
    for (const shard of this.#shards) {
      if (shard.epoch === undefined) continue;
      const [, ids] = (await this.#context.redis.xautoclaim(
        outboxKey(shard.shard),
        LEDGER_GROUP,
        this.#consumer,
        ABANDONED_AFTER_MS,
        '0',
        'COUNT',
        TAKE_OVER_COUNT,
        'JUSTID',
      )) as [string, string[]];
      if (ids.length > 0) shard.readPendingAgain();
    }
  }

  /** One line per kind of trouble, not one per look. */
  #report(error: unknown): void {
    const trouble = messageOf(error);
    if (trouble !== this.#trouble) this.#context.log.warn({ err: error }, 'shards cannot be watched now, trying again');
    this.#trouble = trouble;
  }
}
