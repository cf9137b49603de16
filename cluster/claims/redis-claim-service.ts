// The claim path of one process: claim lines to Redis, acknowledgement levels on top, epochs and the existence of coupons
// from MySQL. Writes to MySQL only what epoch-watch.ts does, and to Redis only through the scripts.
import { Acknowledgement } from './acknowledgement.js';
import { ArchivedClaims } from './archived-claims.js';
import { ClaimLine, surelyNotRun } from './claim-line.js';
import type { ClaimMetrics } from './claim-metrics.js';
import { Confirmations } from './confirmations.js';
import { EpochWatch } from './epoch-watch.js';
import type { OpenPatience } from './epoch-watch.js';
import type {
  Answer,
  ClaimOutcome,
  ClaimService,
  CouponView,
  Receipt,
  Refusal,
  ReturnOutcome,
} from './claim-service.js';
import { LedgerWatch } from './ledger-watch.js';
import type { OutboxEnds } from './witness.js';
import { Witness } from './witness.js';
import type { Ack } from '../../coupons/definition.js';
import { stateOfRefusal } from '../../coupons/definition.js';
import { couponKeys, fenceKey, outboxKey } from '../../coupons/keys.js';
import { MysqlAge } from '../../coupons/mysql-age.js';
import { CODE, errorOfCode } from '../../lua/codes.js';
import type { Script, Scripts } from '../../lua/scripts.js';
import { loadScripts, runScript } from '../../lua/scripts.js';
import { RedisDurability } from '../../platform/durability.js';
import type { ErrorCode } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import type { Pool, RowDataPacket } from '../../platform/mysql.js';
import { createMysqlPool } from '../../platform/mysql.js';
import type { Redis } from '../../platform/redis.js';
import { connectRedis, redisAnswers } from '../../platform/redis.js';
import type { Settings } from '../../platform/settings.js';
import { within } from '../../platform/within.js';

/** Look-ups (receipts, coupons) and returns under way at once in one process; more are refused. */
const LOOKUPS_MAX = 2_048;
/** For epochs, unknown coupons and claims at level `ledger`. */
const MYSQL_CONNECTIONS = 3;
/** Unknown coupon ids that MySQL is asked about at once; whoever asks for one more may try again. */
const ASKING_MAX = 256;
/** Coupons remembered as being at level `replica`; more only take the longer way. */
const REPLICA_COUPONS_MAX = 10_000;

interface LookUp {
  readonly shard: number;
  readonly epoch: number;
  readonly values: unknown[];
}

type ReceiptReply = [code: number, claimNo: number, claimedAt: number, ack: Ack, ...ends: OutboxEnds];
type ReturnReply = [
  code: number,
  claimNo: number,
  claimedAt: number,
  returnedAt: number,
  ack: Ack,
  ...ends: OutboxEnds,
];

/** `REDIS_URL` and `MYSQL_URL` must be set by now: the start command fills them in for embedded servers. */
export function createClaimService(context: ClaimServiceContext): RunningClaimService {
  return new RedisClaimService(context);
}

interface ClaimServiceContext {
  readonly settings: Settings;
  readonly log: Log;
  /** Of the process, as operators see it. */
  readonly name: string;
  readonly metrics: ClaimMetrics;
}

export interface RunningClaimService extends ClaimService {
  /** Returns at once; until the databases answer, `unreadyReasons` says what is missing. */
  start(): Promise<void>;
  /** Resolves when claims of every shard may be sent, when patience is at its end, or when aborted. */
  whenOpen(patience: OpenPatience, stopping?: AbortSignal): Promise<void>;
  /**
   * Answers what waits, waits up to `deadline` (epoch ms; default: not at all) until MySQL has everything that was answered,
   * and closes the connections.
   */
  stop(deadline?: number): Promise<void>;
}

class RedisClaimService implements RunningClaimService {
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
  readonly #witness = new Witness();
  readonly #age: MysqlAge;
  readonly #epochs: EpochWatch;
  readonly #confirmations: Confirmations;
  /** Questions to MySQL under way, by coupon: a stampede on one unknown coupon asks once. */
  readonly #asking = new Map<string, Promise<ErrorCode>>();
  readonly #timeLimitMs: number;
  #lookups = 0;

  constructor({ settings, log, name, metrics }: ClaimServiceContext) {
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
    const witness = this.#witness;
    const scripts = this.#scripts;
    this.#age = new MysqlAge({ redis: this.#redis, mysql: this.#mysql, shardCount, log });
    this.#epochs = new EpochWatch({ mysql: this.#mysql, shardCount, witness, age: this.#age, name, log });
    this.#confirmations = new Confirmations({ redis: this.#redis, scripts, witness, log });
    const shared = { scripts, epochs: this.#epochs, witness, settings, log, metrics };
    this.#line = new ClaimLine({ ...shared, redis: this.#redis });
    if (replicaCount > 0) {
      this.#replicaRedis = connect();
      this.#replicaLine = new ClaimLine({ ...shared, redis: this.#replicaRedis, replicas: replicaCount });
    }
    this.#acknowledgement = new Acknowledgement({
      durability: this.#durability,
      shards: this.#epochs,
      ledger: this.#ledger,
      replicaLine: this.#replicaLine,
      timeLimitMs: claimTimeoutMs,
    });
    metrics.watchMailboxes(() => this.#line.depth + (this.#replicaLine?.depth ?? 0));
  }

  start(): Promise<void> {
    this.#epochs.start();
    this.#confirmations.start();
    return Promise.resolve();
  }

  async whenOpen(patience: OpenPatience, stopping?: AbortSignal): Promise<void> {
    await this.#epochs.whenAllOpen(patience, stopping);
  }

  async stop(deadline = 0): Promise<void> {
    await Promise.all([this.#line.close(), this.#replicaLine?.close()]);
    this.#ledger.stop();
    await this.#leave(deadline);
    this.#durability.stop();
    this.#redis.disconnect();
    this.#replicaRedis?.disconnect();
    await this.#mysql.end();
  }

  unreadyReasons(): string[] {
    const reasons: string[] = [];
    if (!redisAnswers(this.#redis)) reasons.push('redis_unavailable');
    if (!this.#epochs.known()) reasons.push('epochs_unknown');
    else if (this.#age.older) reasons.push('mysql_older_than_redis');
    else if (!this.#epochs.anyOpen()) reasons.push('shards_closed');
    return reasons;
  }

  claim(couponId: string, userId: string, answer: Answer): void {
    const startedAt = performance.now();
    const settle = (outcome: ClaimOutcome): void => {
      this.#metrics.settled(outcome, startedAt);
      answer(outcome);
    };
    const { line, confirmed } = this.#lineOf(couponId);
    line.claim(couponId, userId, (said) => {
      const outcome = this.#finalOutcome(couponId, userId, said, confirmed);
      if (isSettled(outcome)) settle(outcome);
      else {
        outcome.then(settle, (error: unknown) => {
          this.#log.error({ err: error, couponId }, 'a claim was decided, and its answer failed');
          settle(unknown());
        });
      }
    });
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
    const reply = await this.#lookUp(this.#scripts.receipt, couponId, userId);
    if ('status' in reply) return reply;
    const [code, claimNo, claimedAt, ack, ...ends] = reply.values as ReceiptReply;
    if (code === CODE.RETURNED) return { status: 'refused', code: 'returned', returnedAt: claimedAt };
    if (code === CODE.ARCHIVED) return await this.#archived.receipt(couponId, userId, 'not_claimed');
    if (code !== CODE.FOUND) return refused(errorOfCode(code));
    const receipt = { claimNo, claimedAt, ack };
    const told = [{ couponId, userId, claimNo, at: claimedAt, returnedAt: undefined }];
    if (!this.#witness.remember(reply.shard, reply.epoch, ends, told)) return unknown();
    return (await this.#atItsLevel(couponId, userId, receipt)) ? { status: 'already_claimed', receipt } : unknown();
  }

  async returnClaim(couponId: string, userId: string): Promise<ReturnOutcome> {
    const shard = this.#epochs.shardOf(couponId);
    if (this.#lookups >= LOOKUPS_MAX) return refused('overloaded');
    if (this.#witness.full) return refused('ledger_behind');
    this.#lookups++;
    try {
      const own = couponKeys(shard, couponId);
      const keys = [fenceKey(shard), outboxKey(shard), own.coupon, own.stock, own.claimedUser];
      for (let attempt = 1; ; attempt++) {
        const epoch = this.#epochs.epochOf(shard);
        if (epoch === undefined || this.#redis.status !== 'ready') return this.#closed();
        const reply = await runScript(this.#redis, this.#scripts.return, keys, [epoch, couponId, userId]);
        const [code, claimNo, claimedAt, returnedAt, ack, ...ends] = reply as ReturnReply;
        if (code === CODE.FOUND) {
          const told = [{ couponId, userId, claimNo, at: claimedAt, returnedAt }];
          if (!this.#witness.remember(shard, epoch, ends, told)) return unknown();
          const receipt = { claimNo, claimedAt, ack, returnedAt };
          return (await this.#atItsLevel(couponId, userId, receipt)) ? { status: 'returned', receipt } : unknown();
        }
        if (code === CODE.UNKNOWN_COUPON) return refused(await this.#whyUnknown(couponId));
        if (code === CODE.ARCHIVED) return await this.#archived.returned(couponId, userId);
        if (code !== CODE.FENCED) return refused(errorOfCode(code));
        // The script did nothing, so with a newer epoch it may be called again, once.
        await this.#epochs.refresh().catch(() => undefined);
        if (attempt > 1 || this.#epochs.epochOf(shard) === epoch) {
          this.#epochs.hurry();
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
    const reply = await this.#lookUp(this.#scripts.view, couponId);
    if ('status' in reply) return reply;
    const [code = 0, refusal = 0, total = 0, remaining = 0, , , opensAt = -1, closesAt = -1] = reply.values as number[];
    if (code !== CODE.FOUND && code !== CODE.ARCHIVED) return refused(errorOfCode(code));
    return {
      state: stateOfRefusal(refusal),
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

  /** `script` takes fence, coupon, stock and claimed_user, then the outbox if it takes a user. */
  async #lookUp(script: Script, couponId: string, userId?: string): Promise<LookUp | Refusal> {
    const shard = this.#epochs.shardOf(couponId);
    const epoch = this.#epochs.epochOf(shard);
    if (epoch === undefined || this.#redis.status !== 'ready') return this.#closed();
    if (this.#lookups >= LOOKUPS_MAX) return refused('overloaded');
    this.#lookups++;
    try {
      const own = couponKeys(shard, couponId);
      const keys = [fenceKey(shard), own.coupon, own.stock, own.claimedUser];
      const [moreKeys, moreArgs] = userId === undefined ? [[], []] : [[outboxKey(shard)], [userId]];
      const args = [epoch, couponId, ...moreArgs];
      const values = (await runScript(this.#redis, script, [...keys, ...moreKeys], args)) as unknown[];
      if (values[0] === CODE.FENCED) {
        this.#epochs.hurry();
        // The reading scripts may not write, so they cannot fence a shard that they find damaged.
        await runScript(this.#redis, this.#scripts.find_damage, [...keys, outboxKey(shard)], [epoch, couponId]);
      }
      if (values[0] === CODE.UNKNOWN_COUPON) return refused(await this.#whyUnknown(couponId));
      return { shard, epoch, values };
    } catch (error) {
      this.#log.warn({ err: error, shard }, 'look-up failed');
      // Looking up changes nothing, so there is nothing unknown about it.
      return refused('unavailable');
    } finally {
      this.#lookups--;
    }
  }

  #closed(): Refusal {
    return refused(this.#redis.status === 'ready' && this.#epochs.known() ? 'fenced' : 'unavailable');
  }

  async #leave(deadline: number): Promise<void> {
    const confirmed = await this.#confirmations.emptied(deadline);
    await this.#confirmations.stop();
    // Whoever leaves with something unconfirmed stays in the register: a rebuild must know that somebody is missing.
    const left = confirmed ? this.#epochs.leave() : this.#epochs.stop();
    await left.catch((error: unknown) => this.#log.warn({ err: error }, 'the register of workers still has this one'));
  }
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
