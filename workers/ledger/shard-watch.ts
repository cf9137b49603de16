// Watches over all shards: a shard that is not open where it should be (Redis restarted, failed over, lost keys, or the
// first start) is rebuilt; one that somebody else has rebuilt is opened here under its new epoch. Shards are looked at one
// beside the other: one whose Redis does not answer, or whose rebuild takes long, keeps no other waiting.
import { fenceKey, LEDGER_GROUP, outboxKey } from '../../coupons/keys.js';
import { MysqlAge, refuseOlderMysql } from '../../coupons/mysql-age.js';
import type { ShardRow } from '../../coupons/shards.js';
import { readShards } from '../../coupons/shards.js';
import { closeForLateReports, insertLeftovers, readSilent } from '../../coupons/witnesses.js';
import type { Attendance, ReportedClaim } from '../../coupons/witnesses.js';
import { runScript } from '../../lua/scripts.js';
import { messageOf, StampedeError } from '../../platform/errors.js';
import { pause } from './backoff.js';
import type { RebuildContext } from './rebuild/lease.js';
import { RebuildOvertaken } from './rebuild/lease.js';
import { rebuildShard } from './rebuild/rebuild.js';
import { DeadWorkers } from './retire-workers.js';
import type { ShardLedger } from './shard-ledger.js';

/** Bounds how long a shard stays fenced before its rebuild begins. */
const WATCH_INTERVAL_MS = 250;
/** Entries that a consumer was given and has not acknowledged for this long are taken over: it is dead, or as good as. */
const ABANDONED_AFTER_MS = 30_000;
/** After a rebuild that failed; the databases may be the reason. */
const REBUILD_PAUSE_MS = 1_000;
const TAKE_OVER_INTERVAL_MS = 5_000;
const TAKE_OVER_COUNT = 1_000;

type WitnessedClaims = Omit<ReportedClaim, 'id' | 'epoch'>[];

export class ShardWatch {
  readonly #context: RebuildContext;
  readonly #consumer: string;
  readonly #shards: readonly WatchedShard[];
  readonly #age: MysqlAge;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;
  #trouble = '';

  constructor(context: RebuildContext, consumer: string, shards: readonly ShardLedger[]) {
    this.#context = context;
    this.#consumer = consumer;
    this.#shards = shards.map((ledger) => new WatchedShard(ledger, new DeadWorkers(context)));
    const { redis, mysql, log } = context;
    this.#age = new MysqlAge({ redis, mysql, shardCount: shards.length, log });
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

  /** True while MySQL is older than Redis: every shard is closed. */
  get mysqlOlder(): boolean {
    return this.#age.older;
  }

  /** True when every shard has been looked at, and at least one is open: the others are not worth waiting for. */
  get opened(): boolean {
    return this.#shards.every(({ looked }) => looked) && this.#shards.some(({ ledger }) => ledger.epoch !== undefined);
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const compared = this.#age.compare();
      // Nothing is written before every shard was compared, but for those that cannot be.
      if (!this.#age.tried || this.#age.older) await compared;
      if (!this.#age.tried || this.#age.older) {
        await Promise.all(this.#shards.map(({ ledger }) => ledger.close()));
        await pause(WATCH_INTERVAL_MS, signal);
        continue;
      }
      try {
        const { mysql } = this.#context;
        await closeForLateReports(mysql);
        const silent = await readSilent(mysql, 'current epochs');
        for (const row of await readShards(mysql)) this.#begin(row, silent);
        this.#trouble = '';
      } catch (error) {
        this.#trouble = this.#report(error, this.#trouble);
        this.#age.doubt();
      }
      await pause(WATCH_INTERVAL_MS, signal);
    }
  }

  /** One look at a time: a row that was read while a look was under way is dropped, since the next one comes soon. */
  #begin(row: ShardRow, silent: readonly Attendance[]): void {
    const shard = this.#shards[row.shard];
    if (shard === undefined || shard.look !== undefined || this.#stopping.signal.aborted) return;
    if (!this.#age.mayUse(row.shard)) {
      shard.looked = true;
      return;
    }
    const registered = silent.filter((one) => one.shard === row.shard && one.epoch === row.epoch);
    shard.look = this.#look(shard, row, registered)
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

  async #look(shard: WatchedShard, row: ShardRow, registered: readonly Attendance[]): Promise<void> {
    const { ledger } = shard;
    if (!(await this.#stands(row))) {
      await this.#rebuild(shard, row.epoch);
      return;
    }
    if (ledger.epoch !== row.epoch) {
      await ledger.close();
      await this.#reportLeftovers(ledger);
      // Another shard may have shown meanwhile that MySQL is older.
      if (!this.#age.mayUse(row.shard)) return;
      ledger.open(row.epoch);
    }
    await this.#takeOver(shard);
    await shard.deadWorkers.retire(registered);
  }

  async #stands(row: ShardRow): Promise<boolean> {
    if (row.state !== 'open') return false;
    const { redis, scripts } = this.#context;
    const keys = [fenceKey(row.shard), outboxKey(row.shard)];
    return (await runScript(redis, scripts.fence_state, keys, [row.epoch])) === 1;
  }

  #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** A shard that cannot be rebuilt now is left for a later look. */
  async #rebuild(shard: WatchedShard, seenEpoch: number): Promise<void> {
    const { ledger } = shard;
    await ledger.close();
    if (shard.rebuildNotBefore > performance.now() || this.#isStopping()) return;
    const { log } = this.#context;
    try {
      await this.#reportLeftovers(ledger);
      const epoch = await rebuildShard(this.#context, ledger.shard, seenEpoch, this.#stopping.signal);
      if (epoch !== undefined && this.#age.mayUse(ledger.shard)) ledger.open(epoch);
    } catch (error) {
      if (this.#isStopping()) return;
      shard.rebuildNotBefore = performance.now() + REBUILD_PAUSE_MS;
      if (error instanceof StampedeError && error.code === 'mysql_older_than_redis')
        this.#age.report(ledger.shard, error.message);
      else if (error instanceof RebuildOvertaken)
        log.info({ shard: ledger.shard }, `rebuild given up: ${error.message}`);
      else log.error({ err: error, shard: ledger.shard }, 'rebuild failed, trying again');
    }
  }

  /** Another ledger rebuilds, or has rebuilt, the shard: what only this process still holds may be of use to it. */
  async #reportLeftovers(ledger: ShardLedger): Promise<void> {
    const epochs = new Map<number, WitnessedClaims>();
    for (const { couponId, claimNo, userId, at, epoch } of ledger.leftovers) {
      const claims = epochs.get(epoch) ?? [];
      claims.push({ couponId, claimNo, userId, at, returnedAt: undefined });
      epochs.set(epoch, claims);
    }
    // What only this process holds is not given to books that the newer ones replace.
    if (epochs.size > 0) await refuseOlderMysql(this.#context, ledger.shard);
    for (const [epoch, claims] of epochs)
      await insertLeftovers(this.#context.mysql, { worker: this.#consumer, shard: ledger.shard, epoch, claims });
    ledger.forgetLeftovers();
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
  readonly deadWorkers: DeadWorkers;
  /** The look that is under way. */
  look: Promise<void> | undefined;
  looked = false;
  /** Why the latest look failed; '' when it did not. */
  trouble = '';
  /** When a rebuild that failed may be tried again. */
  rebuildNotBefore = -Infinity;
  takenOverAt = -Infinity;

  constructor(ledger: ShardLedger, deadWorkers: DeadWorkers) {
    this.ledger = ledger;
    this.deadWorkers = deadWorkers;
  }
}
