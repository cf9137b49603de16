// The role `ledger`: brings the schema up to date, rebuilds shards, takes the outbox to MySQL and runs the jobs. The only
// role that writes claims to MySQL. Serves no requests.
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import type { Actor, ActorContext } from '../../cluster/actor.js';
import { outboxKey } from '../../coupons/keys.js';
import { ensureShards, Shards } from '../../coupons/shards.js';
import { loadScripts } from '../../lua/scripts.js';
import { ConfigurationError } from '../../platform/errors.js';
import type { Pool } from '../../platform/mysql.js';
import { createMysqlPool } from '../../platform/mysql.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, redisAnswers, whenRedisReady } from '../../platform/redis.js';
import { archiveCouponsJob } from '../jobs/archive-coupons.js';
import { deliverEventJob, findEventsJob } from '../jobs/deliver-events.js';
import { finishChangesJob } from '../jobs/finish-changes.js';
import type { Job } from '../jobs/jobs.js';
import { Jobs } from '../jobs/jobs.js';
import { reconcileJob, watchReconciliation } from '../jobs/reconcile.js';
import { retryDeadLettersJob } from '../jobs/retry-dead-letters.js';
import { migrate } from '../migrations/migrate.js';
import { backoff, pause } from './backoff.js';
import { measuredWrites, watchOutbox, watchShards, watchWithheld, watchWriters } from './ledger-metrics.js';
import type { OutboxReader } from './outbox-reader.js';
import { createOutboxReaders } from './outbox-reader.js';
import { checkServers } from './redis-check.js';
import { ShardLedger } from './shard-ledger.js';
import { ShardWatch } from './shard-watch.js';
import { WriterPool } from './writer-pool.js';

/** Longer than any script or page of a rebuild takes. */
const REDIS_TIMEOUT_MS = 10_000;
/** Of a read, which Redis holds for 100 ms at the most. */
const READ_TIMEOUT_MS = 3_000;
const MYSQL_CONNECTIONS = 4;
const HOUR_MS = 3_600_000;
const DRAIN_LOOK_INTERVAL_MS = 25;
/** Part of the drain that is kept for closing what is open. */
const STOP_RESERVE_MS = 2_000;
/** How often a boot that waits for Redis looks again. */
const REDIS_WAIT_MS = 1_000;
/** The jobs begin this much after the first shard was opened, at the most. */
const JOBS_WAIT_MS = 50;

export function createActor(context: ActorContext): Actor {
  return new LedgerActor(context);
}

class LedgerActor implements Actor {
  readonly #context: ActorContext;
  readonly #redisUrl: string;
  readonly #mysqlUrl: string;
  readonly #redis: Redis;
  readonly #readingRedis: Redis;
  readonly #mysql: Pool;
  readonly #pool: WriterPool;
  readonly #shards: readonly ShardLedger[];
  readonly #readers: readonly OutboxReader[];
  readonly #watch: ShardWatch;
  readonly #jobs: Jobs;
  readonly #stopping = new AbortController();
  #boot: Promise<void> | undefined;
  #waitingFor: string | undefined = 'mysql_unavailable';

  constructor(context: ActorContext) {
    const { settings, log, metrics, name } = context;
    if (settings.redisUrl === undefined || settings.mysqlUrl === undefined)
      throw new Error('database URLs are missing');
    this.#context = context;
    this.#redisUrl = settings.redisUrl;
    this.#mysqlUrl = settings.mysqlUrl;
    this.#redis = connectRedis(this.#redisUrl, { kind: 'request', commandTimeoutMs: REDIS_TIMEOUT_MS }, log);
    this.#readingRedis = connectRedis(this.#redisUrl, { kind: 'request', commandTimeoutMs: READ_TIMEOUT_MS }, log);
    this.#mysql = createMysqlPool(this.#mysqlUrl, MYSQL_CONNECTIONS);
    this.#pool = new WriterPool({
      mysqlUrl: this.#mysqlUrl,
      threads: settings.ledgerThreads,
      recorded: settings.diagnostics === 'on',
      queueMax: settings.shardCount,
      rowsAwaited: settings.defaultAck === 'ledger',
    });
    const scripts = loadScripts();
    const consumer = consumerName(settings.dir, name);
    const { ledgerWindow } = settings;
    const shared = { redis: this.#redis, scripts, ...measuredWrites(this.#pool, metrics), ledgerWindow, log };
    this.#shards = Array.from({ length: settings.shardCount }, (_, shard) => new ShardLedger(shard, shared));
    this.#readers = createOutboxReaders(this.#readingRedis, consumer, this.#shards, log);
    this.#watch = new ShardWatch({ ...shared, mysql: this.#mysql, owner: consumer }, consumer, this.#shards);
    const changes = { ...shared, mysql: this.#mysql, shards: new Shards(this.#mysql, settings.shardCount) };
    const { eventsUrl, eventsSecret } = settings;
    const jobs: Job[] = [
      finishChangesJob(changes, log),
      retryDeadLettersJob(changes, log),
      reconcileJob(changes, log),
      archiveCouponsJob(changes, settings.archiveAfterHours * HOUR_MS, log),
    ];
    if (eventsUrl !== undefined && eventsSecret !== undefined) {
      jobs.push(
        findEventsJob(changes, log, (name, eventId) => this.#jobs.add(name, eventId, eventId)),
        deliverEventJob(this.#mysql, { url: eventsUrl, secret: eventsSecret }),
      );
    }
    // They change MySQL and Redis, too.
    const mayRun = (): boolean => !this.#watch.mysqlOlder;
    this.#jobs = new Jobs({ redisUrl: this.#redisUrl, jobs, log, metrics, mayRun });
    watchOutbox(this.#redis, settings.shardCount, metrics);
    watchShards(this.#mysql, this.#shards, metrics);
    watchWithheld(this.#mysql, metrics);
    watchWriters(this.#pool, metrics);
    watchReconciliation(this.#mysql, metrics);
  }

  start(): Promise<void> {
    this.#boot = this.#waitAndRun();
    return Promise.resolve();
  }

  unreadyReasons(): string[] {
    if (this.#waitingFor !== undefined) return [this.#waitingFor];
    if (!redisAnswers(this.#redis)) return ['redis_unavailable'];
    if (this.#watch.mysqlOlder) return ['mysql_older_than_redis'];
    if (this.#watch.blind) return ['databases_unavailable'];
    return this.#watch.opened ? [] : ['shards_closed'];
  }

  /**
   * Goes on until MySQL has everything that was in the outbox when the drain began, or the deadline is near, then stops.
   * What comes later is of other instances, and theirs to write. Rejects when entries are left.
   */
  async drain(deadline: number): Promise<void> {
    const jobsStopped = this.#jobs.stop();
    const left = await this.#emptyOutbox(deadline - STOP_RESERVE_MS);
    this.#stopping.abort();
    await this.#boot;
    await Promise.all([...this.#readers.map((reader) => reader.stop()), this.#watch.stop(), jobsStopped]);
    await Promise.all(this.#shards.map((shard) => shard.close()));
    await this.#pool.stop();
    this.#redis.disconnect();
    this.#readingRedis.disconnect();
    await this.#mysql.end();
    if (left) throw new Error('outbox entries are left that MySQL does not have; the next start writes them');
  }

  /** True when entries are left at the deadline; what was never started leaves none. */
  async #emptyOutbox(deadline: number): Promise<boolean> {
    let ends: string[] | undefined;
    while (this.#waitingFor === undefined && !this.#watch.mysqlOlder) {
      ends ??= await this.#outboxEnds();
      if (ends !== undefined && !(await this.#entriesLeft(ends))) break;
      if (Date.now() >= deadline) return true;
      await pause(DRAIN_LOOK_INTERVAL_MS, this.#stopping.signal);
    }
    if (this.#watch.mysqlOlder)
      this.#context.log.warn('stopped with the outbox as it is: MySQL is older than Redis, and takes none of it');
    return false;
  }

  /** Never rejects: what no retry can cure ends the process. */
  async #waitAndRun(): Promise<void> {
    const { log, settings } = this.#context;
    const { signal } = this.#stopping;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        const applied = await migrate(this.#mysqlUrl, (line) => log.info(line));
        if (applied > 0) log.info({ applied }, 'schema is up to date');
        await ensureShards(this.#mysql, settings.shardCount);
        break;
      } catch (error) {
        if (error instanceof ConfigurationError) {
          this.#context.fail(error);
          return;
        }
        if (attempt === 1) log.warn({ err: error }, 'MySQL is not ready, waiting for it');
        await backoff(attempt, signal);
      }
    }
    this.#waitingFor = 'redis_unavailable';
    while (!signal.aborted && !(await this.#redisAnswers()));
    if (signal.aborted) return;
    checkServers(this.#redis, log);
    this.#waitingFor = undefined;
    this.#watch.start();
    for (const reader of this.#readers) reader.start();
    // They change MySQL and Redis, too: not before MySQL is known to be no older than Redis.
    while (!this.#watch.opened) {
      await pause(JOBS_WAIT_MS, signal);
      if (this.#isStopping()) return;
    }
    this.#jobs.start();
  }

  #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #redisAnswers(): Promise<boolean> {
    return await whenRedisReady(this.#redis, REDIS_WAIT_MS).then(
      () => true,
      () => false,
    );
  }

  /** The id of the latest entry of each shard's outbox; undefined while Redis cannot tell. */
  async #outboxEnds(): Promise<string[] | undefined> {
    try {
      return await Promise.all(
        this.#shards.map(async ({ shard }) => {
          const [latest] = await this.#redis.xrevrange(outboxKey(shard), '+', '-', 'COUNT', 1);
          return latest?.[0] ?? '0-0';
        }),
      );
    } catch {
      return undefined;
    }
  }

  /** True while an outbox holds an entry up to these ends, and while Redis cannot tell. */
  async #entriesLeft(ends: readonly string[]): Promise<boolean> {
    try {
      const left = await Promise.all(
        this.#shards.map(async ({ shard }) => {
          const entries = await this.#redis.xrange(outboxKey(shard), '-', ends[shard] ?? '+', 'COUNT', 1);
          return entries.length > 0;
        }),
      );
      return left.includes(true);
    } catch {
      return true;
    }
  }
}

/**
 * Stable over restarts of the same place in the same cluster, so that a successor is given at once what its predecessor
 * left; different for every other installation that shares the Redis.
 */
function consumerName(dir: string, name: string): string {
  return `${hostname()}:${createHash('sha256').update(dir).digest('hex').slice(0, 8)}:${name}`;
}
