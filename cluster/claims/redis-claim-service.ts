// The claim path of one process: mailboxes in front, one Redis connection behind, epochs and the existence of coupons
// from MySQL. Never writes to MySQL, and to Redis only through the scripts.
import type { Redis } from 'ioredis';
import type { ClaimOutcome, ClaimService, CouponView } from './claim-service.js';
import { decodeReply, encodeClaims } from './claim-call.js';
import type { PendingClaim } from './mailbox.js';
import { Mailbox } from './mailbox.js';
import type { Ack, CouponState } from '../../coupons/definition.js';
import { couponKeys, fenceKey } from '../../coupons/keys.js';
import { Shards } from '../../coupons/shards.js';
import { CODE, errorOfCode } from '../../lua/codes.js';
import type { Script, Scripts } from '../../lua/scripts.js';
import { loadScripts, runScript } from '../../lua/scripts.js';
import { RedisDurability } from '../../platform/durability.js';
import type { ErrorCode } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import type { Pool, RowDataPacket } from '../../platform/mysql.js';
import { createMysqlPool } from '../../platform/mysql.js';
import { connectRedis } from '../../platform/redis.js';
import type { Settings } from '../../platform/settings.js';

/** Claims of one script call: about 2.5 ms of Redis at 5 µs a claim, so other shards do not notice. */
const BATCH_MAX = 512;
/** One batch runs in Redis while the next one travels. */
const CALLS_MAX = 2;
/** Look-ups (receipts, coupons) under way at once in one process; more are refused. */
const LOOKUPS_MAX = 2_048;
/** For epochs and unknown coupons only. */
const MYSQL_CONNECTIONS = 2;
/** How often the epochs are read while a shard is known to be closed … */
const REFRESH_CLOSED_MS = 250;
/** … and otherwise, to notice that somebody else has closed one. */
const REFRESH_OPEN_MS = 5_000;

type Refused = { readonly status: 'refused'; readonly code: ErrorCode };

/** `REDIS_URL` and `MYSQL_URL` must be set by now: the start command fills them in for embedded servers. */
export function createClaimService(context: {
  settings: Settings;
  log: Log;
}): ClaimService & { start(): Promise<void>; stop(): Promise<void> } {
  return new RedisClaimService(context.settings, context.log);
}

class RedisClaimService implements ClaimService {
  readonly #log: Log;
  readonly #scripts: Scripts = loadScripts();
  readonly #mailboxes: Mailbox[];
  readonly #redis: Redis;
  readonly #durability: RedisDurability;
  readonly #mysql: Pool;
  readonly #shards: Shards;
  #lookups = 0;
  #refreshTimer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(settings: Settings, log: Log) {
    if (settings.redisUrl === undefined || settings.mysqlUrl === undefined)
      throw new Error('database URLs are missing');
    this.#log = log;
    this.#redis = connectRedis(settings.redisUrl, { kind: 'request', commandTimeoutMs: settings.claimTimeoutMs }, log);
    this.#durability = new RedisDurability(this.#redis);
    this.#mysql = createMysqlPool(settings.mysqlUrl, MYSQL_CONNECTIONS, settings.claimTimeoutMs);
    this.#shards = new Shards(this.#mysql, settings.shardCount);
    const limits = {
      depthMax: settings.mailboxDepthMax,
      batchMax: BATCH_MAX,
      callsMax: CALLS_MAX,
      timeLimitMs: settings.claimTimeoutMs,
    };
    this.#mailboxes = Array.from(
      { length: settings.shardCount },
      (_, shard) => new Mailbox(limits, (batch) => this.#send(shard, batch)),
    );
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
    await Promise.all(this.#mailboxes.map((mailbox) => mailbox.close()));
    this.#durability.stop();
    this.#redis.disconnect();
    await this.#mysql.end();
  }

  unreadyReasons(): string[] {
    const reasons: string[] = [];
    if (this.#redis.status !== 'ready') reasons.push('redis_unavailable');
    if (!this.#shards.known()) reasons.push('epochs_unknown');
    else if (!this.#shards.allOpen()) reasons.push('shards_closed');
    return reasons;
  }

  claim(couponId: string, userId: string): Promise<ClaimOutcome> {
    const mailbox = this.#mailboxes[this.#shards.shardOf(couponId)];
    if (mailbox === undefined) throw new Error('a coupon has no shard');
    return mailbox.put(couponId, userId);
  }

  async receipt(couponId: string, userId: string): Promise<ClaimOutcome> {
    const reply = await this.#lookUp(this.#scripts.receipt, couponId, [userId]);
    if ('status' in reply) return reply;
    const [code, claimNo, claimedAt, ack] = reply.values as [number, number, number, Ack];
    if (code !== CODE.FOUND) return refused(errorOfCode(code));
    if (!this.#reached(ack)) return refused('outcome_unknown');
    return { status: 'already_claimed', receipt: { claimNo, claimedAt, ack } };
  }

  async coupon(couponId: string): Promise<CouponView | Refused> {
    const reply = await this.#lookUp(this.#scripts.view, couponId, []);
    if ('status' in reply) return reply;
    const [code = 0, refusal = 0, total = 0, remaining = 0, , , opensAt = -1, closesAt = -1] = reply.values as number[];
    if (code !== CODE.FOUND) return refused(errorOfCode(code));
    return {
      state: refusal === 0 ? 'open' : (errorOfCode(refusal) as CouponState),
      total,
      remaining,
      opensAt: opensAt < 0 ? null : opensAt,
      closesAt: closesAt < 0 ? null : closesAt,
    };
  }

  /** Sends one batch and answers every claim in it. Never rejects. */
  async #send(shard: number, batch: readonly PendingClaim[]): Promise<void> {
    try {
      for (let attempt = 1; ; attempt++) {
        const epoch = this.#shards.epochOf(shard);
        if (epoch === undefined || this.#redis.status !== 'ready') {
          answerAll(batch, refused('unavailable'));
          return;
        }
        const call = encodeClaims(shard, epoch, batch);
        const outcomes = decodeReply(
          await runScript(this.#redis, this.#scripts.claim, call.keys, call.args),
          call,
          this.#reached,
        );
        if (outcomes !== 'fenced') {
          await this.#answer(call.groups.flat(), outcomes);
          return;
        }
        // The script did nothing, so with a newer epoch the batch may be sent again, once.
        await this.#shards.refresh().catch(() => undefined);
        if (attempt > 1 || this.#shards.epochOf(shard) === epoch) {
          this.#refresh();
          answerAll(batch, refused('fenced'));
          return;
        }
      }
    } catch (error) {
      this.#log.warn({ err: error, shard, claims: batch.length }, 'claim batch failed');
      answerAll(batch, refused(surelyNotRun(error) ? 'unavailable' : 'outcome_unknown'));
    }
  }

  async #answer(claims: readonly PendingClaim[], outcomes: readonly ClaimOutcome[]): Promise<void> {
    const unknown = new Map<string, PendingClaim[]>();
    claims.forEach((claim, i) => {
      const outcome = outcomes[i] ?? refused('internal');
      if (outcome.status !== 'refused' || outcome.code !== 'unknown_coupon') return claim.answer(outcome);
      const same = unknown.get(claim.couponId);
      if (same === undefined) unknown.set(claim.couponId, [claim]);
      else same.push(claim);
    });
    await Promise.all(
      [...unknown].map(async ([couponId, same]) => answerAll(same, refused(await this.#whyUnknown(couponId)))),
    );
  }

  /** Redis does not know the coupon. If MySQL does, it is being made or loaded: 503, never 404. */
  async #whyUnknown(couponId: string): Promise<ErrorCode> {
    try {
      const [rows] = await this.#mysql.query<RowDataPacket[]>('SELECT 1 FROM coupon WHERE coupon_id = ?', [couponId]);
      return rows.length > 0 ? 'unavailable' : 'unknown_coupon';
    } catch (error) {
      this.#log.warn({ err: error, couponId }, 'MySQL could not tell whether a coupon exists');
      return 'unavailable';
    }
  }

  async #lookUp(script: Script, couponId: string, rest: readonly string[]): Promise<{ values: unknown[] } | Refused> {
    const shard = this.#shards.shardOf(couponId);
    const epoch = this.#shards.epochOf(shard);
    if (epoch === undefined || this.#redis.status !== 'ready') return refused('unavailable');
    if (this.#lookups >= LOOKUPS_MAX) return refused('overloaded');
    this.#lookups++;
    try {
      const own = couponKeys(shard, couponId);
      const keys = [fenceKey(shard), own.coupon, own.stock, own.claimedUser];
      const values = (await runScript(this.#redis, script, keys, [epoch, couponId, ...rest])) as unknown[];
      if (values[0] === CODE.FENCED) this.#refresh();
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

  readonly #reached = (ack: Ack): boolean => ack === 'redis' || (ack === 'fsync' && this.#durability.fsyncBeforeReply);

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

/**
 * Errors that Redis gives before it runs a script, or that this side gives before it sends one. Anything else, a time-out
 * or a lost connection first of all, leaves the outcome unknown.
 */
const NOT_RUN =
  /^(LOADING|READONLY|OOM|MISCONF|MASTERDOWN|BUSY|NOAUTH|NOPERM|CLUSTERDOWN|MOVED|ASK|TRYAGAIN|Stream isn't writeable)/;

function surelyNotRun(error: unknown): boolean {
  return error instanceof Error && NOT_RUN.test(error.message);
}

function answerAll(claims: readonly PendingClaim[], outcome: ClaimOutcome): void {
  for (const claim of claims) claim.answer(outcome);
}

function refused(code: ErrorCode): Refused {
  return { status: 'refused', code };
}
