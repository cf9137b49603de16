// What operators may do with coupons. The admin API and the jobs know this interface; coupons/mysql-redis-coupons.ts keeps it.
import type { DeadLetters } from './dead-letter-retry.js';
import type { Reconciliation } from './reconcile.js';
import type { Ack, CouponDefinition, CouponState } from './definition.js';
import type { ShardRow } from './shards.js';

export interface NewCoupon {
  readonly couponId: string;
  readonly total: number;
  /** Epoch milliseconds; null: no bound. */
  readonly opensAt: number | null;
  readonly closesAt: number | null;
  /** Undefined: the default level of this installation. */
  readonly ack: Ack | undefined;
  readonly returnable: boolean;
}

export interface CouponDetails extends CouponDefinition {
  readonly version: number;
  readonly shard: number;
  readonly createdAt: number;
  /** When the coupon was archived; null before that. */
  readonly archivedAt: number | null;
  /** What Redis says now; null while the shard is fenced or Redis is away. */
  readonly live: {
    readonly state: CouponState;
    readonly remaining: number;
    /** Claims handed out. */
    readonly claimed: number;
    readonly returned: number;
    readonly ceiling: number;
  } | null;
  /** What MySQL holds. */
  readonly ledger: { readonly claimed: number; readonly returned: number };
  readonly withheld: number;
}

export interface StockChange {
  readonly delta: number;
  readonly reason: string;
  readonly idempotencyKey: string;
  /** Who asked, for the stock log, e.g. `admin`. */
  readonly by: string;
}

export interface StockAdjustment extends StockChange {
  readonly couponId: string;
  readonly version: number;
  /** Epoch milliseconds. */
  readonly requestedAt: number;
}

export interface ClaimRow {
  readonly couponId: string;
  readonly claimNo: number;
  readonly userId: string;
  readonly claimedAt: number;
  readonly returnedAt: number | null;
}

export interface ClaimFilter {
  readonly userId?: string;
  readonly claimNo?: number;
  /** Rows with a higher claim number only. */
  readonly after: number;
  readonly limit: number;
}

/** All methods throw `StampedeError`: `unknown_coupon`, `unavailable`, `fenced`, `change_pending`, and what each one names. */
export interface Coupons {
  /** `coupon_exists` when the id is taken by another definition; `created: false` when by this very one. */
  create(coupon: NewCoupon): Promise<{ created: boolean; coupon: CouponDetails }>;
  show(couponId: string): Promise<CouponDetails>;
  /** What the newest coupons hold now; cheap, for it counts no claims: of MySQL's rows only those of withheld numbers. */
  newest(limit: number): Promise<Pick<CouponDetails, 'couponId' | 'total' | 'live' | 'withheld'>[]>;
  /** By id, ascending; `after` is the last id of the page before. */
  list(page: { after: string; limit: number }): Promise<{ coupons: CouponDetails[]; next: string | null }>;
  /** Repeating either is harmless. */
  pause(couponId: string): Promise<CouponDetails>;
  resume(couponId: string): Promise<CouponDetails>;
  /** Undefined leaves a bound as it is, null removes it. `invalid_window`. */
  setWindow(
    couponId: string,
    window: { opensAt?: number | null | undefined; closesAt?: number | null | undefined },
  ): Promise<CouponDetails>;
  /** The same key and change again gives the first answer again. `below_claimed`, `stock_too_large`, `idempotency_key_reused`. */
  adjust(couponId: string, change: StockChange): Promise<{ adjustment: StockAdjustment; coupon: CouponDetails }>;
  claims(couponId: string, filter: ClaimFilter): Promise<{ claims: ClaimRow[]; next: number | null }>;
}

export type InvariantName = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6';

export interface AuditReport {
  readonly ok: boolean;
  readonly coupons: number;
  readonly claims: number;
  /** Outbox entries that were not in MySQL yet. */
  readonly outboxEntries: number;
  /** Entries that MySQL did not take, kept to be tried again. */
  readonly deadLetters: number;
  readonly durationMs: number;
  readonly invariants: readonly {
    readonly name: InvariantName;
    /** One sentence: what was checked. */
    readonly statement: string;
    readonly checked: number;
    readonly violations: number;
    /** The first few, each a sentence that names coupon and number. */
    readonly examples: readonly string[];
  }[];
}

/** What a process runs: the coupons with their connections. */
export interface CouponsService extends Coupons {
  readonly deadLetters: DeadLetters;
  start(): Promise<void>;
  stop(): Promise<void>;
  unreadyReasons(): string[];
  /** Checks every invariant over Redis, outbox and MySQL, while traffic goes on. */
  audit(onProgress?: (done: number, of: number) => void): Promise<AuditReport>;
  /** The audit, with the repairs that are safe (coupons/reconcile.ts). */
  reconcile(): Promise<Reconciliation>;
  /** Gives back the units of claim numbers in doubt: whoever may hold one of them has to live with a promise not kept. */
  releaseWithheld(couponId: string): Promise<CouponDetails>;
  /** As MySQL has them; `mysqlOlder`: by what one sees that this MySQL is older than Redis, so that none is opened. */
  shards(): Promise<readonly (ShardRow & { readonly mysqlOlder?: string })[]>;
  /** Has a shard rebuilt as after a loss. `not_found`, `mysql_older_than_redis`. */
  rebuildShard(shard: number): Promise<ShardRow>;
  /** Applies and settles the change that a coupon may have pending. */
  finish(couponId: string): Promise<void>;
}
