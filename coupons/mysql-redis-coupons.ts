// The operators' side of coupons, over MySQL and Redis. Writes definitions to MySQL and applies them through
// coupons/changes.ts; reads claims; never grants or writes one.
import type { AuditReport, ClaimFilter, CouponDetails, CouponsService, NewCoupon, StockChange } from './coupons.js';
import type { StockAdjustment, ClaimRow } from './coupons.js';
import { audit } from './audit.js';
import type { ChangeContext } from './changes.js';
import { tellingDatabaseFailures } from './telling-failures.js';
import { changeCoupon, finishChange } from './changes.js';
import { countClaims, readClaims } from './claim-log.js';
import type { DeadLetters } from './dead-letter-retry.js';
import { deadLettersOver } from './dead-letter-retry.js';
import type { CouponRow, StockLogRow } from './coupon-table.js';
import {
  insertCoupon,
  insertStockLog,
  readCoupon,
  readCoupons,
  readNewestCoupons,
  readStockLog,
  writeNextVersion,
} from './coupon-table.js';
import type { Ack } from './definition.js';
import { stateOfRefusal, TOTAL_MAX } from './definition.js';
import { couponKeys, fenceKey } from './keys.js';
import { MysqlAge, refuseOlderMysql, refuseOlderRow } from './mysql-age.js';
import type { Reconciliation } from './reconcile.js';
import { reconcile } from './reconcile.js';
import { closeShard, closeShardAnew, lockShards, readShard, readShards, Shards } from './shards.js';
import type { ShardRow } from './shards.js';
import { countVoids, readWithheld, releaseCoupon } from './withheld.js';
import { CODE } from '../lua/codes.js';
import { loadScripts, runScript } from '../lua/scripts.js';
import { fsyncsBeforeReply } from '../platform/durability.js';
import { StampedeError } from '../platform/errors.js';
import type { Log } from '../platform/log.js';
import type { Pool, Queryable } from '../platform/mysql.js';
import { createMysqlPool, ER_DUP_ENTRY, inTransaction, mysqlErrno } from '../platform/mysql.js';
import type { Redis, RedisServer } from '../platform/redis.js';
import { connectRedis, redisAnswers, serverOf } from '../platform/redis.js';
import type { Settings } from '../platform/settings.js';
import { within } from '../platform/within.js';

const MYSQL_CONNECTIONS = 4;
const REDIS_TIMEOUT_MS = 5_000;
const REFRESH_INTERVAL_MS = 1_000;
/** Of the page of the shards: it waits so long for what Redis has. */
const COMPARE_LIMIT_MS = 1_000;

/** `REDIS_URL` and `MYSQL_URL` must be set by now: the start command fills them in for embedded servers. */
export function createCoupons({ settings, log }: { settings: Settings; log: Log }): CouponsService {
  if (settings.redisUrl === undefined || settings.mysqlUrl === undefined) throw new Error('database URLs are missing');
  const redis = connectRedis(settings.redisUrl, { kind: 'request', commandTimeoutMs: REDIS_TIMEOUT_MS }, log);
  return couponsOver({ settings, log, redis, mysql: createMysqlPool(settings.mysqlUrl, MYSQL_CONNECTIONS) });
}

/** The same over connections that the caller made; `stop` closes them. */
export function couponsOver(context: { settings: Settings; log: Log; redis: Redis; mysql: Pool }): CouponsService {
  return tellingDatabaseFailures(new MysqlRedisCoupons(context));
}

class MysqlRedisCoupons implements CouponsService {
  readonly #settings: Settings;
  readonly #log: Log;
  readonly #redis: Redis;
  readonly #mysql: Pool;
  readonly deadLetters: DeadLetters;
  readonly #context: ChangeContext;
  readonly #age: MysqlAge;
  #refreshTimer: NodeJS.Timeout | undefined;

  constructor({ settings, log, redis, mysql }: { settings: Settings; log: Log; redis: Redis; mysql: Pool }) {
    this.#settings = settings;
    this.#log = log;
    this.#redis = redis;
    this.#mysql = mysql;
    const shards = new Shards(mysql, settings.shardCount);
    this.#context = { redis, mysql, scripts: loadScripts(), shards };
    this.#age = new MysqlAge({ redis, mysql, shardCount: settings.shardCount, log });
    this.deadLetters = deadLettersOver(this.#context);
  }

  start(): Promise<void> {
    const refresh = (): void => {
      this.#context.shards
        .refresh()
        .catch((error: unknown) => {
          this.#age.doubt();
          this.#log.debug({ err: error }, 'epochs could not be read');
        })
        .finally(() => {
          // `stop` clears the timer; a refresh that was under way then must not set it again.
          if (this.#refreshTimer !== undefined) this.#refreshTimer = setTimeout(refresh, REFRESH_INTERVAL_MS);
        });
    };
    this.#refreshTimer = setTimeout(refresh, 0);
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    clearTimeout(this.#refreshTimer);
    this.#refreshTimer = undefined;
    this.#redis.disconnect();
    await this.#mysql.end();
  }

  unreadyReasons(): string[] {
    if (!this.#context.shards.known()) return ['epochs_unknown'];
    return redisAnswers(this.#redis) ? [] : ['redis_unavailable'];
  }

  async create(coupon: NewCoupon): Promise<{ created: boolean; coupon: CouponDetails }> {
    const { couponId, total, opensAt, closesAt, returnable } = coupon;
    checkWindow(opensAt, closesAt);
    // As it was asked for: what a default means may change until the same request comes again.
    const createdAs = JSON.stringify({ total, opensAt, closesAt, ack: coupon.ack ?? null, returnable });
    const { redis, shards } = this.#context;
    const existing = await readCoupon(this.#mysql, couponId);
    const place = { couponId, shard: shards.shardOf(couponId) };
    await refuseOlderRow(redis, place, () => readCoupon(this.#mysql, couponId));
    const created = existing === undefined && (await this.#insert(coupon, createdAs));
    const row = existing ?? (await readCoupon(this.#mysql, couponId));
    if (row?.createdAs !== createdAs) throw new StampedeError('coupon_exists');
    await finishChange(this.#context, couponId);
    return { created, coupon: await this.show(couponId) };
  }

  async show(couponId: string): Promise<CouponDetails> {
    const row = await readCoupon(this.#mysql, couponId);
    if (row === undefined) throw new StampedeError('unknown_coupon');
    return await this.#details(row);
  }

  async list(page: { after: string; limit: number }): Promise<{ coupons: CouponDetails[]; next: string | null }> {
    const rows = await readCoupons(this.#mysql, page);
    const coupons = await Promise.all(rows.map((row) => this.#details(row)));
    return { coupons, next: rows.length < page.limit ? null : (rows.at(-1)?.couponId ?? null) };
  }

  async newest(limit: number): Promise<Pick<CouponDetails, 'couponId' | 'total' | 'live' | 'withheld'>[]> {
    const [rows, withheld] = await Promise.all([readNewestCoupons(this.#mysql, limit), readWithheld(this.#mysql)]);
    return await Promise.all(
      rows.map(async (row) => ({
        ...{ couponId: row.couponId, total: row.total, withheld: withheld.get(row.couponId) ?? 0 },
        live: await this.#live(row),
      })),
    );
  }

  pause(couponId: string): Promise<CouponDetails> {
    return this.#define(couponId, () => ({ paused: true }));
  }

  resume(couponId: string): Promise<CouponDetails> {
    return this.#define(couponId, () => ({ paused: false }));
  }

  setWindow(
    couponId: string,
    window: { opensAt?: number | null | undefined; closesAt?: number | null | undefined },
  ): Promise<CouponDetails> {
    return this.#define(couponId, (row) => {
      const opensAt = window.opensAt === undefined ? row.opensAt : window.opensAt;
      const closesAt = window.closesAt === undefined ? row.closesAt : window.closesAt;
      checkWindow(opensAt, closesAt);
      return { opensAt, closesAt };
    });
  }

  async adjust(couponId: string, change: StockChange): Promise<{ adjustment: StockAdjustment; coupon: CouponDetails }> {
    const find = () => readStockLog(this.#mysql, couponId, { idempotencyKey: change.idempotencyKey });
    const ask = async (connection: Queryable, row: CouponRow): Promise<boolean> => {
      if (await readStockLog(connection, couponId, { idempotencyKey: change.idempotencyKey })) return false;
      if (row.total + change.delta > TOTAL_MAX) throw new StampedeError('stock_too_large');
      await writeNextVersion(connection, row, row);
      await insertStockLog(connection, pendingChange(couponId, row.version + 1, change));
      return true;
    };
    await changeCoupon(this.#context, couponId, ask);
    const logged = await find();
    if (logged === undefined || logged.status === 'pending') throw new StampedeError('change_pending');
    if (logged.delta !== change.delta || logged.reason !== change.reason)
      throw new StampedeError('idempotency_key_reused');
    const coupon = await this.show(couponId);
    if (logged.status === 'below_claimed') throw new StampedeError('below_claimed');
    const { delta, reason, idempotencyKey, version, requestedAt } = logged;
    return {
      adjustment: { couponId, delta, reason, idempotencyKey, by: logged.requestedBy, version, requestedAt },
      coupon,
    };
  }

  async claims(couponId: string, filter: ClaimFilter): Promise<{ claims: ClaimRow[]; next: number | null }> {
    if ((await readCoupon(this.#mysql, couponId)) === undefined) throw new StampedeError('unknown_coupon');
    const claims = await readClaims(this.#mysql, couponId, filter);
    return { claims, next: claims.length < filter.limit ? null : (claims.at(-1)?.claimNo ?? null) };
  }

  async releaseWithheld(couponId: string): Promise<CouponDetails> {
    const row = await readCoupon(this.#mysql, couponId);
    if (row === undefined) throw new StampedeError('unknown_coupon');
    await refuseOlderMysql(this.#context, row.shard);
    await inTransaction(this.#mysql, async (connection) => {
      // As rebuilds do it, against deadlocks.
      await lockShards(connection, [row.shard]);
      // The rebuild that follows gives the units back; it reads what is committed here.
      if ((await releaseCoupon(connection, couponId)) > 0) await closeShardAnew(connection, row.shard);
    });
    return await this.#details(row);
  }

  async shards(): Promise<readonly (ShardRow & { readonly mysqlOlder?: string })[]> {
    const rows = await readShards(this.#mysql);
    // An operator who looks while Redis hangs does not wait for it.
    await within(COMPARE_LIMIT_MS, this.#age.compare(), false);
    return rows.map((row) => {
      const mysqlOlder = this.#age.findingOf(row.shard);
      return mysqlOlder === undefined ? row : { ...row, mysqlOlder };
    });
  }

  async rebuildShard(shard: number): Promise<ShardRow> {
    if (shard >= this.#context.shards.count) throw new StampedeError('not_found', `There is no shard ${shard}.`);
    await refuseOlderMysql(this.#context, shard);
    await closeShard(this.#mysql, shard);
    return await readShard(this.#mysql, shard);
  }

  async finish(couponId: string): Promise<void> {
    await finishChange(this.#context, couponId);
  }

  async audit(onProgress: (done: number, of: number) => void = () => undefined): Promise<AuditReport> {
    return await audit({ ...this.#context, onProgress });
  }

  async reconcile(): Promise<Reconciliation> {
    return await reconcile({ ...this.#context, log: this.#log });
  }

  /** False when somebody else was faster with this id. */
  async #insert(coupon: NewCoupon, createdAs: string): Promise<boolean> {
    const { couponId, total, opensAt, closesAt, returnable } = coupon;
    const row: CouponRow = {
      ...{ couponId, total: 0, opensAt, closesAt, paused: false, returnable },
      ack: await this.#checkAck(couponId, coupon.ack),
      shard: this.#context.shards.shardOf(couponId),
      version: 1,
      appliedVersion: 0,
      ceiling: this.#settings.ledgerWindow,
      baseNo: 0,
      createdAs,
      createdAt: Date.now(),
      archiveState: 'none',
      archivedAt: null,
    };
    const grant = { delta: total, reason: 'created', idempotencyKey: 'created', by: 'admin' };
    try {
      await inTransaction(this.#mysql, async (connection) => {
        await insertCoupon(connection, row);
        await insertStockLog(connection, pendingChange(couponId, 1, grant));
      });
      return true;
    } catch (error) {
      if (mysqlErrno(error) === ER_DUP_ENTRY) return false;
      throw error;
    }
  }

  async #define(
    couponId: string,
    change: (row: CouponRow) => Partial<Pick<CouponRow, 'paused' | 'opensAt' | 'closesAt'>>,
  ): Promise<CouponDetails> {
    await changeCoupon(this.#context, couponId, async (connection, row) => {
      const next = { ...row, ...change(row) };
      const same = next.paused === row.paused && next.opensAt === row.opensAt && next.closesAt === row.closesAt;
      if (!same) await writeNextVersion(connection, row, next);
      return !same;
    });
    return await this.show(couponId);
  }

  /** The level asked for, or the default; refused where the Redis of this coupon cannot keep it. */
  async #checkAck(couponId: string, asked: Ack | undefined): Promise<Ack> {
    const wanted = asked ?? this.#settings.defaultAck;
    if (wanted === 'redis' || wanted === 'ledger') return wanted;
    const server = serverOf(this.#redis, fenceKey(this.#context.shards.shardOf(couponId)));
    if (server === undefined) throw new StampedeError('unavailable');
    if (wanted === 'replica') {
      await this.#checkReplicas(server);
      return wanted;
    }
    const fsync = await fsyncsBeforeReply(server);
    if (wanted === undefined) return fsync ? 'fsync' : 'redis';
    if (fsync) return wanted;
    throw new StampedeError('ack_unavailable', 'Redis does not run with appendonly yes and appendfsync always.');
  }

  async #checkReplicas(server: RedisServer): Promise<void> {
    const { replicaCount } = this.#settings;
    if (replicaCount === 0) throw new StampedeError('ack_unavailable', 'REPLICA_COUNT names no replicas.');
    const connected = Number(/connected_slaves:(\d+)/.exec(await server.info('replication'))?.[1]);
    if (connected >= replicaCount) return;
    throw new StampedeError(
      'ack_unavailable',
      `Redis has ${connected} of the ${replicaCount} replicas that REPLICA_COUNT names.`,
    );
  }

  async #details(row: CouponRow): Promise<CouponDetails> {
    const { claimed, returned } = await countClaims(this.#mysql, row.couponId);
    const { withheld } = await countVoids(this.#mysql, row.couponId);
    const { couponId, total, opensAt, closesAt, paused, ack, returnable, version, shard, createdAt, archivedAt } = row;
    return {
      ...{ couponId, total, opensAt, closesAt, paused, ack, returnable, version, shard, createdAt, archivedAt },
      live: await this.#live(row),
      ledger: { claimed, returned },
      withheld,
    };
  }

  async #live(row: CouponRow): Promise<CouponDetails['live']> {
    const { redis, scripts, shards } = this.#context;
    const keys = couponKeys(row.shard, row.couponId);
    const all = [fenceKey(row.shard), keys.coupon, keys.stock, keys.claimedUser];
    const view = async (): Promise<number[]> => {
      const args = [shards.epochOf(row.shard) ?? 0, row.couponId];
      return (await runScript(redis, scripts.view, all, args).catch(() => [CODE.FENCED])) as number[];
    };
    let reply = await view();
    if (reply[0] === CODE.FENCED) {
      // The epoch may be newer than the one that was read last.
      await shards.refresh();
      reply = await view();
    }
    const [code, refusal = 0, , remaining = 0, highest = 0, ceiling = 0, , , , returned = 0, , , voids = 0] = reply;
    if (code !== CODE.FOUND && code !== CODE.ARCHIVED) return null;
    return { state: stateOfRefusal(refusal), remaining, claimed: highest - voids, returned, ceiling };
  }
}

function checkWindow(opensAt: number | null, closesAt: number | null): void {
  if (opensAt !== null && closesAt !== null && closesAt <= opensAt) throw new StampedeError('invalid_window');
}

function pendingChange(couponId: string, version: number, change: StockChange): StockLogRow {
  const { delta, reason, by, idempotencyKey } = change;
  const requestedAt = Date.now();
  return { couponId, version, delta, reason, requestedBy: by, idempotencyKey, status: 'pending', requestedAt };
}
