// The claim path of one process: claim lines to Redis, acknowledgement levels on top, epochs and the existence of coupons
// from MySQL. Never writes to MySQL, and to Redis only through the scripts.
import { Acknowledgement } from './acknowledgement.js';
import { ArchivedClaims } from './archived-claims.js';
import { ClaimLine, surelyNotRun } from './claim-line.js';
import { ClaimMetrics } from './claim-metrics.js';
import type { ClaimOutcome, ClaimService, CouponView, Receipt, Refusal, ReturnOutcome } from './claim-service.js';
import { LedgerWatch } from './ledger-watch.js';
import type { Ack, CouponState } from '../../coupons/definition.js';
import { couponKeys, fenceKey, outboxKey } from '../../coupons/keys.js';
import { Shards } from '../../coupons/shards.js';
import { CODE, errorOfCode } from '../../lua/codes.js';
import type { Script, Scripts } from '../../lua/scripts.js';
import { loadScripts, runScript } from '../../lua/scripts.js';
import { RedisDurability } from '../../platform/durability.js';
import type { ErrorCode } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import type { Metrics } from '../../platform/metrics/metrics.js';
import type { Pool, RowDataPacket } from '../../platform/mysql.js';
import { createMysqlPool } from '../../platform/mysql.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, redisAnswers } from '../../platform/redis.js';
import type { Settings } from '../../platform/settings.js';

/** Look-ups (receipts, coupons) and returns under way at once in one process; more are refused. */
const LOOKUPS_MAX = 2_048;
/** For epochs, unknown coupons and claims at level `ledger`. */
const MYSQL_CONNECTIONS = 3;
/** How often the epochs are read while a shard is known to be closed … */
const REFRESH_CLOSED_MS = 250;
/** … and otherwise, to notice that somebody else has closed one. */
const REFRESH_OPEN_MS = 5_000;
/** Unknown coupon ids that MySQL is asked about at once; whoever asks for one more may try again. */
const ASKING_MAX = 256;
/** Coupons remembered as being at level `replica`; more only take the longer way. */
const REPLICA_COUPONS_MAX = 10_000;

/** `REDIS_URL` and `MYSQL_URL` must be set by now: the start command fills them in for embedded servers. */
export function createClaimService(context: {
  settings: Settings;
  log: Log;
  metrics: Metrics;
}): ClaimService & { start(): Promise<void>; stop(): Promise<void> } {
  return new RedisClaimService(context.settings, context.log, new ClaimMetrics(context.metrics));
}

class RedisClaimService implements ClaimService {
  readonly #log: Log;
  readonly #metrics: ClaimMetrics;
  readonly #scripts: Scripts = loadScripts();
  readonly #redis: Redis;
  readonly #replicaRedis: Redis | undefined;
  readonly #line: ClaimLine;
  readonly #replicaLine: ClaimLine | undefined;
  /** Coupons whose claims go by the replica line at once. A level never changes. */
  readonly #replicaCoupons = new Set<string>();
  readonly #durability: RedisDurability;
  readonly #ledger: LedgerWatch;
  readonly #acknowledgement: Acknowledgement;
  readonly #mysql: Pool;
  readonly #archived: ArchivedClaims;
  readonly #shards: Shards;
  /** Questions to MySQL under way, by coupon: a stampede on one unknown coupon asks once. */
  readonly #asking = new Map<string, Promise<ErrorCode>>();
  readonly #timeLimitMs: number;
  #lookups = 0;
  #refreshTimer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(settings: Settings, log: Log, metrics: ClaimMetrics) {
    const { redisUrl, mysqlUrl, claimTimeoutMs, replicaCount, shardCount } = settings;
    if (redisUrl === undefined || mysqlUrl === undefined) throw new Error('database URLs are missing');
    const connect = () => connectRedis(redisUrl, { kind: 'request', commandTimeoutMs: claimTimeoutMs }, log);
    this.#log = log;
    this.#metrics = metrics;
    this.#timeLimitMs = claimTimeoutMs;
    this.#redis = connect();
    this.#durability = new RedisDurability(this.#redis, log);
    this.#mysql = createMysqlPool(mysqlUrl, MYSQL_CONNECTIONS, claimTimeoutMs);
    this.#ledger = new LedgerWatch(this.#mysql, log);
    this.#archived = new ArchivedClaims(this.#mysql, log);
    this.#shards = new Shards(this.#mysql, shardCount);
    const onFenced = () => this.#refresh();
    const shared = { scripts: this.#scripts, shards: this.#shards, settings, log, metrics, onFenced };
    this.#line = new ClaimLine({ ...shared, redis: this.#redis });
    if (replicaCount > 0) {
      this.#replicaRedis = connect();
      this.#replicaLine = new ClaimLine({ ...shared, redis: this.#replicaRedis, replicas: replicaCount });
    }
    this.#acknowledgement = new Acknowledgement({
      durability: this.#durability,
      shards: this.#shards,
      ledger: this.#ledger,
      replicaLine: this.#replicaLine,
      timeLimitMs: claimTimeoutMs,
    });
    metrics.watchMailboxes(() => this.#line.depth + (this.#replicaLine?.depth ?? 0));
  }

  /** Returns at once; until the databases answer, `unreadyReasons` says what is missing. */
  start(): Promise<void> {
    this.#refresh();
    return Promise.resolve();
  }

  /** Answers what waits, then closes the connections. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#refreshTimer);
    await Promise.all([this.#line.close(), this.#replicaLine?.close()]);
    this.#ledger.stop();
    this.#durability.stop();
    this.#redis.disconnect();
    this.#replicaRedis?.disconnect();
    await this.#mysql.end();
  }

  unreadyReasons(): string[] {
    const reasons: string[] = [];
    if (!redisAnswers(this.#redis)) reasons.push('redis_unavailable');
    if (!this.#shards.known()) reasons.push('epochs_unknown');
    else if (!this.#shards.anyOpen()) reasons.push('shards_closed');
    return reasons;
  }

  async claim(couponId: string, userId: string): Promise<ClaimOutcome> {
    const startedAt = performance.now();
    const { line, confirmed } = this.#lineOf(couponId);
    const outcome = await this.#finalOutcome(couponId, userId, await line.claim(couponId, userId), confirmed);
    this.#metrics.settled(outcome, startedAt);
    return outcome;
  }

  async claimAll(couponId: string, userIds: readonly string[]): Promise<ClaimOutcome[]> {
    const startedAt = performance.now();
    const { line, confirmed } = this.#lineOf(couponId);
    const answers = await line.claimAll(couponId, userIds);
    // Most are final at once, and a promise for each of them would cost as much as the claim.
    const final = answers.map((outcome, i) => this.#finalOutcome(couponId, userIds[i] ?? '', outcome, confirmed));
    const outcomes = final.every(isSettled) ? final : await Promise.all(final.map(async (outcome) => await outcome));
    for (const outcome of outcomes) this.#metrics.settled(outcome, startedAt);
    return outcomes;
  }

  #lineOf(couponId: string): { line: ClaimLine; confirmed: boolean } {
    const replicaLine = this.#replicaCoupons.has(couponId) ? this.#replicaLine : undefined;
    return { line: replicaLine ?? this.#line, confirmed: replicaLine !== undefined };
  }

  /** What the caller may be told. `confirmed`: the line has waited for the coupon's level already. */
  #finalOutcome(
    couponId: string,
    userId: string,
    outcome: ClaimOutcome,
    confirmed: boolean,
  ): ClaimOutcome | Promise<ClaimOutcome> {
    if (outcome.status === 'refused') {
      if (outcome.code === 'archived') return this.#archived.receipt(couponId, userId, 'ended');
      return outcome.code === 'unknown_coupon' ? this.#whyUnknown(couponId).then(refused) : outcome;
    }
    if (confirmed) return outcome;
    const told = (reached: boolean): ClaimOutcome => (reached ? outcome : unknown());
    const reached = this.#atItsLevel(couponId, userId, outcome.receipt);
    return typeof reached === 'boolean' ? told(reached) : reached.then(told);
  }

  async receipt(couponId: string, userId: string): Promise<ClaimOutcome> {
    const reply = await this.#lookUp(this.#scripts.receipt, couponId, [userId]);
    if ('status' in reply) return reply;
    const [code, claimNo, claimedAt, ack] = reply.values as [number, number, number, Ack];
    if (code === CODE.RETURNED) return { status: 'refused', code: 'returned', returnedAt: claimedAt };
    if (code === CODE.ARCHIVED) return await this.#archived.receipt(couponId, userId, 'not_claimed');
    if (code !== CODE.FOUND) return refused(errorOfCode(code));
    const receipt = { claimNo, claimedAt, ack };
    return (await this.#atItsLevel(couponId, userId, receipt)) ? { status: 'already_claimed', receipt } : unknown();
  }

  async returnClaim(couponId: string, userId: string): Promise<ReturnOutcome> {
    const shard = this.#shards.shardOf(couponId);
    if (this.#lookups >= LOOKUPS_MAX) return refused('overloaded');
    this.#lookups++;
    try {
      const own = couponKeys(shard, couponId);
      const keys = [fenceKey(shard), outboxKey(shard), own.coupon, own.stock, own.claimedUser];
      for (let attempt = 1; ; attempt++) {
        const epoch = this.#shards.epochOf(shard);
        if (epoch === undefined || this.#redis.status !== 'ready') return refused('unavailable');
        const reply = await runScript(this.#redis, this.#scripts.return, keys, [epoch, couponId, userId]);
        const [code, claimNo, claimedAt, returnedAt, ack] = reply as [number, number, number, number, Ack];
        if (code === CODE.FOUND) {
          const receipt = { claimNo, claimedAt, ack, returnedAt };
          return (await this.#atItsLevel(couponId, userId, receipt)) ? { status: 'returned', receipt } : unknown();
        }
        if (code === CODE.UNKNOWN_COUPON) return refused(await this.#whyUnknown(couponId));
        if (code === CODE.ARCHIVED) return await this.#archived.returned(couponId, userId);
        if (code !== CODE.FENCED) return refused(errorOfCode(code));
        // The script did nothing, so with a newer epoch it may be called again, once.
        await this.#shards.refresh().catch(() => undefined);
        if (attempt > 1 || this.#shards.epochOf(shard) === epoch) {
          this.#refresh();
          return refused('fenced');
        }
      }
    } catch (error) {
      this.#log.warn({ err: error, shard }, 'return failed');
      return surelyNotRun(error) ? refused('unavailable') : unknown();
    } finally {
      this.#lookups--;
    }
  }

  async coupon(couponId: string): Promise<CouponView | Refusal> {
    const reply = await this.#lookUp(this.#scripts.view, couponId, []);
    if ('status' in reply) return reply;
    const [code = 0, refusal = 0, total = 0, remaining = 0, , , opensAt = -1, closesAt = -1] = reply.values as number[];
    if (code !== CODE.FOUND && code !== CODE.ARCHIVED) return refused(errorOfCode(code));
    return {
      state: refusal === 0 ? 'open' : (errorOfCode(refusal) as CouponState),
      total,
      remaining,
      opensAt: opensAt < 0 ? null : opensAt,
      closesAt: closesAt < 0 ? null : closesAt,
    };
  }

  /** Whether the claim, or its return, has reached the coupon's level; false when it does not in time. */
  #atItsLevel(couponId: string, userId: string, receipt: Receipt): boolean | Promise<boolean> {
    if (receipt.ack === 'replica' && this.#replicaCoupons.size < REPLICA_COUPONS_MAX) {
      this.#replicaCoupons.add(couponId);
    }
    return this.#acknowledgement.reached(couponId, userId, receipt);
  }

  /** Redis does not know the coupon. If MySQL does, it is being made or loaded: 503, never 404. */
  #whyUnknown(couponId: string): Promise<ErrorCode> {
    const asked = this.#asking.get(couponId);
    if (asked !== undefined) return asked;
    if (this.#asking.size >= ASKING_MAX) return Promise.resolve('unavailable');
    const limited = within(this.#timeLimitMs, this.#askMysql(couponId), 'unavailable' as const);
    const asking = limited.finally(() => this.#asking.delete(couponId));
    this.#asking.set(couponId, asking);
    return asking;
  }

  async #askMysql(couponId: string): Promise<ErrorCode> {
    try {
      const [rows] = await this.#mysql.query<RowDataPacket[]>('SELECT 1 FROM coupon WHERE coupon_id = ?', [couponId]);
      return rows.length > 0 ? 'unavailable' : 'unknown_coupon';
    } catch (error) {
      this.#log.debug({ err: error, couponId }, 'MySQL could not tell whether a coupon exists');
      return 'unavailable';
    }
  }

  async #lookUp(script: Script, couponId: string, rest: readonly string[]): Promise<{ values: unknown[] } | Refusal> {
    const shard = this.#shards.shardOf(couponId);
    const epoch = this.#shards.epochOf(shard);
    if (epoch === undefined || this.#redis.status !== 'ready') return refused('unavailable');
    if (this.#lookups >= LOOKUPS_MAX) return refused('overloaded');
    this.#lookups++;
    try {
      const own = couponKeys(shard, couponId);
      const keys = [fenceKey(shard), own.coupon, own.stock, own.claimedUser];
      const values = (await runScript(this.#redis, script, keys, [epoch, couponId, ...rest])) as unknown[];
      if (values[0] === CODE.FENCED) {
        this.#refresh();
        // The reading scripts may not write, so they cannot fence a shard that they find damaged.
        await runScript(this.#redis, this.#scripts.find_damage, keys, [epoch, couponId]);
      }
      if (values[0] === CODE.UNKNOWN_COUPON) return refused(await this.#whyUnknown(couponId));
      return { values };
    } catch (error) {
      this.#log.warn({ err: error, shard }, 'look-up failed');
      // Looking up changes nothing, so there is nothing unknown about it.
      return refused('unavailable');
    } finally {
      this.#lookups--;
    }
  }

  /** Reads the epochs now, and goes on reading them at the pace that the state of the shards asks for. */
  #refresh(): void {
    clearTimeout(this.#refreshTimer);
    if (this.#stopped) return;
    this.#shards
      .refresh()
      .catch((error: unknown) => this.#log.debug({ err: error }, 'epochs could not be read'))
      .finally(() => {
        if (this.#stopped) return;
        clearTimeout(this.#refreshTimer);
        const interval = this.#shards.allOpen() ? REFRESH_OPEN_MS : REFRESH_CLOSED_MS;
        this.#refreshTimer = setTimeout(() => this.#refresh(), interval);
      });
  }
}

/** What `promise` resolves with, or `fallback` when that takes longer than `limitMs`. */
async function within<T>(limitMs: number, promise: Promise<T>, fallback: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(fallback), limitMs);
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function isSettled(outcome: ClaimOutcome | Promise<ClaimOutcome>): outcome is ClaimOutcome {
  return !(outcome instanceof Promise);
}

function refused(code: ErrorCode): Refusal {
  return { status: 'refused', code };
}

function unknown(): Refusal {
  return refused('outcome_unknown');
}
