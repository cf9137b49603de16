// What a coupon is: the part that operators set. Shared by the admin API, MySQL rows and the hash in Redis.

import { CODE } from '../lua/codes.js';

/** When a positive answer may be given; docs/guarantees.md says what each level survives. */
export const ACKS = ['redis', 'fsync', 'replica', 'ledger'] as const;
export type Ack = (typeof ACKS)[number];

/** Units of one coupon at most: its receipts are one hash in Redis (about 100 bytes each), kept in the memory of one node. */
export const TOTAL_MAX = 10_000_000;

/** What DATETIME of MySQL and ISO 8601 with four digits of the year both hold: 9999-12-31T23:59:59.999Z. */
export const TIME_MAX_MS = 253_402_300_799_999;

export interface CouponDefinition {
  readonly couponId: string;
  /** Units ever granted to this coupon: the first total and all adjustments since. */
  readonly total: number;
  /** Epoch milliseconds; null: no bound. */
  readonly opensAt: number | null;
  readonly closesAt: number | null;
  readonly paused: boolean;
  readonly ack: Ack;
  readonly returnable: boolean;
}

/** `withheld`: nothing is left to hand out, but units are kept back that may come back (docs/protocol.md). */
export const COUPON_STATES = ['open', 'not_open', 'paused', 'ended', 'sold_out', 'withheld'] as const;
export type CouponState = (typeof COUPON_STATES)[number];

const STATE_OF_REFUSAL: Readonly<Record<number, CouponState>> = {
  [CODE.NOT_OPEN]: 'not_open',
  [CODE.PAUSED]: 'paused',
  [CODE.ENDED]: 'ended',
  [CODE.SOLD_OUT]: 'sold_out',
  [CODE.WITHHELD]: 'withheld',
};

/** What somebody new would be told, as lua/view.lua gives it; 0: nothing stands in the way. */
export function stateOfRefusal(code: number): CouponState {
  return STATE_OF_REFUSAL[code] ?? 'open';
}
