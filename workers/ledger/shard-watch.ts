// Watches over all shards: a shard that is not open where it should be (Redis restarted, failed over, lost keys, or the
// first start) is rebuilt; one that somebody else has rebuilt is opened here under its new epoch. Shards are looked at one
// beside the other: one whose Redis does not answer, or whose rebuild takes long, keeps no other waiting.
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
  readonly #shards: readonly WatchedShard[];
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;
  #trouble = '';

  constructor(context: RebuildContext, consumer: string, shards: readonly ShardLedger[]) {
    this.#context = context;
    this.#consumer = consumer;
    this.#shards = shards.map((ledger) => new WatchedShard(ledger));
  }

  start(): void {
    this.#loop ??= this.#watch();
  }

  /** Resolves when the rebuilds that are under way have ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
    await Promise.all(this.#shards.map(({ look }) => look ?? Promise.resolve()));
  }

  /** True while the databases do not let it watch any shard. */
  get blind(): boolean {
    return this.#trouble !== '' || this.#shards.every(({ trouble }) => trouble !== '');
  }

  /** True when every shard has been looked at, and at least one is open: the others are not worth waiting for. */
  get opened(): boolean {
    return this.#shards.every(({ looked }) => looked) && this.#shards.some(({ ledger }) => ledger.epoch !== undefined);
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        for (const row of await readShards(this.#context.mysql)) this.#begin(row);
        this.#trouble = '';
      } catch (error) {
        this.#trouble = this.#report(error, this.#trouble);
      }
      await pause(WATCH_INTERVAL_MS, signal);
    }
  }

  /** One look at a time: a row that was read while a look was under way is dropped, since the next one comes soon. */
  #begin(row: ShardRow): void {
    const shard = this.#shards[row.shard];
    if (shard === undefined || shard.look !== undefined || this.#stopping.signal.aborted) return;
    shard.look = this.#look(shard, row)
      .then(
        () => {
          shard.trouble = '';
        },
        (error: unknown) => {
          shard.trouble = this.#report(error, shard.trouble, row.shard);
        },
      )
      .finally(() => {
        shard.look = undefined;
        shard.looked = true;
      });
  }

  async #look(shard: WatchedShard, row: ShardRow): Promise<void> {
    const { ledger } = shard;
    if (!(await this.#stands(row))) {
      await ledger.close();
      await this.#rebuild(shard, row.epoch);
      return;
    }
    if (ledger.epoch !== row.epoch) {
      await ledger.close();
      ledger.open(row.epoch);
    }
    await this.#takeOver(shard);
  }

  async #stands(row: ShardRow): Promise<boolean> {
    if (row.state !== 'open') return false;
    const { redis, scripts } = this.#context;
    return (await runScript(redis, scripts.fence_state, [fenceKey(row.shard)], [row.epoch])) === 1;
  }

  /** A shard that cannot be rebuilt now is left for a later look. */
  async #rebuild(shard: WatchedShard, seenEpoch: number): Promise<void> {
    if (shard.rebuildNotBefore > performance.now() || this.#stopping.signal.aborted) return;
    const { log } = this.#context;
    const { ledger } = shard;
    try {
      const epoch = await rebuildShard(this.#context, ledger.shard, seenEpoch);
      if (epoch !== undefined) ledger.open(epoch);
    } catch (error) {
      shard.rebuildNotBefore = performance.now() + REBUILD_PAUSE_MS;
      if (error instanceof RebuildOvertaken) log.info({ shard: ledger.shard }, `rebuild given up: ${error.message}`);
      else log.error({ err: error, shard: ledger.shard }, 'rebuild failed, trying again');
    }
  }

  /** Entries of dead consumers become ours. */
  async #takeOver(shard: WatchedShard): Promise<void> {
    if (performance.now() - shard.takenOverAt < TAKE_OVER_INTERVAL_MS) return;
    shard.takenOverAt = performance.now();
    const [, ids] = (await this.#context.redis.xautoclaim(
      outboxKey(shard.ledger.shard),
      LEDGER_GROUP,
      this.#consumer,
      ABANDONED_AFTER_MS,
      '0',
      'COUNT',
      TAKE_OVER_COUNT,
      'JUSTID',
    )) as [string, string[]];
    if (ids.length > 0) shard.ledger.readPendingAgain();
  }

  /** One line per kind of trouble, not one per look. Returns what the trouble is. */
  #report(error: unknown, known: string, shard?: number): string {
    const trouble = messageOf(error);
    if (trouble !== known) {
      const what = shard === undefined ? 'shards cannot be watched now' : 'shard cannot be watched now';
      this.#context.log.warn({ err: error, shard }, `${what}, trying again`);
    }
    return trouble;
  }
}

/** What the watch knows of one shard. */
class WatchedShard {
  readonly ledger: ShardLedger;
  /** The look that is under way. */
  look: Promise<void> | undefined;
  looked = false;
  /** Why the latest look failed; '' when it did not. */
  trouble = '';
  /** When a rebuild that failed may be tried again. */
  rebuildNotBefore = -Infinity;
  takenOverAt = -Infinity;

  constructor(ledger: ShardLedger) {
    this.ledger = ledger;
  }
}
