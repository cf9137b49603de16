// What the public API asks of the claim path, and what it is told. The HTTP room knows this file and nothing else of
// claims/. Outcomes are plain values: most claims of a stampede end in `sold_out`, and an Error a piece would cost a stack.
import type { Ack, CouponState } from '../../coupons/definition.js';
import type { ErrorCode } from '../../platform/errors.js';

export interface Receipt {
  readonly claimNo: number;
  /** Epoch milliseconds by the shard's clock. */
  readonly claimedAt: number;
  /** The acknowledgement level that was reached. */
  readonly ack: Ack;
}

export type ClaimOutcome = { readonly status: 'claimed' | 'already_claimed'; readonly receipt: Receipt } | Refusal;

export type Answer = (outcome: ClaimOutcome) => void;

export interface Refusal {
  readonly status: 'refused';
  readonly code: ErrorCode;
  /** With `not_open`, epoch milliseconds. */
  readonly opensAt?: number;
  /** With `returned`, epoch milliseconds. */
  readonly returnedAt?: number;
}

export interface ReturnedReceipt extends Receipt {
  /** Epoch milliseconds by the shard's clock. */
  readonly returnedAt: number;
}

export type ReturnOutcome = { readonly status: 'returned'; readonly receipt: ReturnedReceipt } | Refusal;

export interface CouponView {
  readonly state: CouponState;
  readonly total: number;
  readonly remaining: number;
  /** Epoch milliseconds. */
  readonly opensAt: number | null;
  readonly closesAt: number | null;
}

export interface ClaimService {
  /**
   * `answer` hears the outcome, once, within the claim time limit, perhaps before this returns, and never throws. Whoever claims
   * again in the same turn of the event loop leaves others none while claims are refused at once. Ids must be valid
   * (coupons/ids.ts). A callback, because promises cost, and again when the diagnostics watch them
   * (docs/decisions/0016-claims-are-answered-by-callbacks.md).
   */
  claim(couponId: string, userId: string, answer: Answer): void;
  /** The same for many users of one coupon: one outcome each, in their order. Never rejects. */
  claimAll(couponId: string, userIds: readonly string[]): Promise<ClaimOutcome[]>;
  /** The first receipt again, or `refused` with `not_claimed`, `returned`, `unknown_coupon` or a 503 code. Never rejects. */
  receipt(couponId: string, userId: string): Promise<ClaimOutcome>;
  /**
   * Gives the user's claim back. Again: the same answer again. Refused with `not_claimed`, `not_returnable`,
   * `unknown_coupon` or a 503 code. Never rejects, and settles within twice the claim time limit.
   */
  returnClaim(couponId: string, userId: string): Promise<ReturnOutcome>;
  /** Never rejects. */
  coupon(couponId: string): Promise<CouponView | Refusal>;
  unreadyReasons(): string[];
}
