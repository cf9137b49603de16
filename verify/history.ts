// What a run remembers: every operation with the time it was asked, the time it was answered and what was heard, and the
// state that was found in the end. Plain data, so that it can be written to a file, planted by a test, and checked.
// Times are epoch milliseconds with fractions, of this process's monotonic clock.
import type { Ack } from '../coupons/definition.js';

export interface Receipt {
  readonly claimNo: number;
  /** Epoch milliseconds by the shard's clock. */
  readonly claimedAt: number;
}

export type ClaimOutcome =
  | { readonly result: 'granted'; readonly status: 'claimed' | 'already_claimed'; readonly receipt: Receipt }
  /** The service says that this request has granted nothing. */
  | { readonly result: 'refused'; readonly code: string }
  /** May have been granted: `outcome_unknown`, or no answer at all. */
  | { readonly result: 'unknown'; readonly reason: string };

/** As of a claim; `refused` here: this request has given nothing back. */
export type ReturnOutcome =
  | { readonly result: 'returned'; readonly receipt: Receipt; readonly returnedAt: number }
  | { readonly result: 'refused'; readonly code: string }
  | { readonly result: 'unknown'; readonly reason: string };

interface Asked {
  readonly couponId: string;
  readonly invokedAt: number;
  readonly completedAt: number;
}

export interface ClaimOperation extends Asked {
  readonly kind: 'claim';
  readonly userId: string;
  /** Which service instance was asked: 1 or 2. */
  readonly instance: number;
  readonly outcome: ClaimOutcome;
}

export interface ReturnOperation extends Asked {
  readonly kind: 'return';
  readonly userId: string;
  readonly instance: number;
  readonly outcome: ReturnOutcome;
}

/**
 * `unknown` may still take effect: a change that was asked for is finished by whoever comes next. `answer` is what was heard,
 * such as `503 fenced` or `no answer`.
 */
export interface CreateOperation extends Asked {
  readonly kind: 'create';
  readonly answer: string;
  readonly total: number;
  readonly opensAt: number | null;
  readonly closesAt: number | null;
  readonly returnable: boolean;
  readonly outcome: 'done' | 'unknown';
}

export interface SwitchOperation extends Asked {
  readonly kind: 'pause' | 'resume';
  readonly answer: string;
  readonly outcome: 'done' | 'unknown';
}

export interface StockOperation extends Asked {
  readonly kind: 'stock';
  readonly answer: string;
  /** Idempotency key; a repeat carries the same one. */
  readonly key: string;
  readonly delta: number;
  readonly outcome: 'applied' | 'below_claimed' | 'unknown';
}

export type UserOperation = ClaimOperation | ReturnOperation;
export type OperatorOperation = CreateOperation | SwitchOperation | StockOperation;
export type Operation = UserOperation | OperatorOperation;

export interface FinalRow extends Receipt {
  readonly userId: string;
  readonly returnedAt: number | null;
}

/** Claim numbers that nobody could tell of when Redis had forgotten, while their units were withheld. */
export interface FinalRange {
  readonly firstNo: number;
  readonly lastNo: number;
  readonly withheldAt: number;
  /** Infinity: still. */
  readonly releasedAt: number;
}

/** What MySQL holds of one coupon when the outbox is empty. */
export interface FinalCoupon {
  readonly couponId: string;
  readonly rows: readonly FinalRow[];
  readonly ranges: readonly FinalRange[];
  /** The stock log; the first total has the key `created`. */
  readonly stock: readonly { readonly key: string; readonly delta: number; readonly applied: boolean }[];
}

export interface FinalRepair {
  /** As in coupons/reconcile.ts: `row_requeued` is a claim that was on its way to MySQL no more. */
  readonly kind: string;
  readonly what: string;
}

export interface FinalState {
  readonly coupons: readonly FinalCoupon[];
  /** Units that were withheld after the faults, until the operator released them. */
  readonly withheldUnits: number;
  readonly circumstances: Circumstances;
  /** From the end of the last fault until every process was ready, every shard open and the outbox empty. */
  readonly recovery: {
    readonly ms: number;
    readonly limitMs: number;
    /** What was still missing when the limit was over. */
    readonly missing: readonly string[];
    /** What came last, where it came in time. */
    readonly waitedFor: readonly string[];
  };
  /** What `stampede audit` found, one sentence each. */
  readonly audit: readonly string[];
  /** What reconciliation repaired during the run: without it this would be broken now. */
  readonly repairs: readonly FinalRepair[];
  /** Instances that ended though nobody had asked them to, one sentence each. */
  readonly ended: readonly string[];
}

/** What decides which losses are within the window of a level. */
export interface Circumstances {
  readonly ack: Ack;
  /** False: Redis comes back with everything it has answered. */
  readonly redisForgets: boolean;
  /** When Redis may have forgotten something. */
  readonly forgot: readonly number[];
  /** When an http worker of an instance could not report, for ever where it died. */
  readonly away: readonly { readonly instance: number; readonly from: number; readonly to: number }[];
  /** Moments at which everything that had been answered until then was seen to be in MySQL. */
  readonly settled: readonly number[];
  /** When the operator released what was withheld, and so gave up its numbers; null: never. */
  readonly releasedAt: number | null;
}

/** Grows during a run. Bounded by the run: clients are few and each asks one thing at a time. */
export class History {
  readonly operations: Operation[] = [];

  record(operation: Operation): void {
    this.operations.push(operation);
  }
}

/** The key under which the first total of a coupon stands in the stock log. */
export const CREATED_KEY = 'created';

export function now(): number {
  return performance.timeOrigin + performance.now();
}
