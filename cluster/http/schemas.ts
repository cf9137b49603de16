// Schemas that the public and the admin API share, and the one way times leave the service: ISO 8601 in UTC with
// milliseconds.
import { Type } from 'typebox';

/** The pattern is checked by the routes, which answer `invalid_coupon_id`. */
export const CouponParams = Type.Object({
  couponId: Type.String({ description: '1 to 64 characters out of A-Z a-z 0-9 _ -' }),
});

/** A time, or null for none. */
export const Timestamp = Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'date-time' });

/** Epoch milliseconds as `2026-11-27T09:00:00.000Z`. */
export function isoOrNull(epochMs: number | null): string | null {
  return epochMs === null ? null : new Date(epochMs).toISOString();
}
