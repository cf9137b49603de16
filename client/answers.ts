// What the service says, as types. The same shapes as its OpenAPI description; a test holds the two together.

/** Acknowledgement levels: what a receipt has survived so far. */
export type Ack = 'redis' | 'fsync' | 'replica' | 'ledger';

export interface Receipt {
  readonly couponId: string;
  readonly userId: string;
  /** 1 for the first claim of the coupon, without gaps. */
  readonly claimNo: number;
  /** ISO 8601, UTC. */
  readonly claimedAt: string;
  readonly ack: Ack;
}

/** Why the coupon itself refuses. Asking again changes nothing until somebody changes the coupon or its time comes. */
export type RefusalCode = 'sold_out' | 'not_open' | 'ended' | 'paused' | 'returned' | 'unknown_coupon';

/** Why the service cannot decide now. All but `outcome_unknown` mean: surely not granted. */
export type BusyCode = 'overloaded' | 'fenced' | 'ledger_behind' | 'unavailable' | 'outcome_unknown' | 'rate_limited';

export interface Granted extends Receipt {
  /** `already_claimed`: the receipt of an earlier claim again, also when an answer got lost on its way. */
  readonly status: 'claimed' | 'already_claimed';
}

export interface Refused<Code extends string = RefusalCode> {
  readonly status: 'refused';
  readonly couponId: string;
  readonly userId?: string;
  readonly code: Code;
  /** With `not_open`, ISO 8601. */
  readonly opensAt?: string;
  /** With `returned`, ISO 8601. */
  readonly returnedAt?: string;
}

export type ClaimAnswer = Granted | Refused;

/** Of one user of a batch. A code of `BusyCode` stands there when the time was over before the service could decide. */
export type BatchAnswer = Granted | (Refused<RefusalCode | BusyCode | 'invalid_user_id'> & { readonly userId: string });

export interface Coupon {
  readonly couponId: string;
  readonly state: 'open' | 'not_open' | 'paused' | 'ended' | 'sold_out';
  readonly total: number;
  readonly remaining: number;
  /** ISO 8601, UTC. */
  readonly opensAt: string | null;
  readonly closesAt: string | null;
}

export interface Returned extends Receipt {
  readonly status: 'returned';
  readonly returnedAt: string;
}

export const REFUSAL_CODES: ReadonlySet<string> = new Set<RefusalCode>([
  ...(['sold_out', 'not_open', 'ended', 'paused', 'returned', 'unknown_coupon'] as const),
]);

export const BUSY_CODES: ReadonlySet<string> = new Set<BusyCode>([
  ...(['overloaded', 'fenced', 'ledger_behind', 'unavailable', 'outcome_unknown', 'rate_limited'] as const),
]);
