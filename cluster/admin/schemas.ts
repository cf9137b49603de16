// The shapes of the admin API: what operators may send, what they get back. Shapes only; cluster/admin/*-routes.ts use them.
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { ACKS, COUPON_STATES, TIME_MAX_MS, TOTAL_MAX } from '../../coupons/definition.js';
import type { Ack, CouponState } from '../../coupons/definition.js';
import type { ClaimRow, CouponDetails } from '../../coupons/coupons.js';
import { StampedeError } from '../../platform/errors.js';
import { isoOrNull, Timestamp } from '../http/schemas.js';

const REASON_LENGTH_MAX = 200;

const Strict = { additionalProperties: false };
const AckName = Type.Unsafe<Ack>({ type: 'string', enum: ACKS });

export const NewCouponBody = Type.Object(
  {
    couponId: Type.String({ description: '1 to 64 characters out of A-Z a-z 0-9 _ -' }),
    total: Type.Integer({ minimum: 1, maximum: TOTAL_MAX }),
    opensAt: Type.Optional(Timestamp),
    closesAt: Type.Optional(Timestamp),
    ack: Type.Optional(AckName),
    returnable: Type.Optional(Type.Boolean()),
  },
  Strict,
);

export const WindowBody = Type.Object(
  { opensAt: Type.Optional(Timestamp), closesAt: Type.Optional(Timestamp) },
  { ...Strict, minProperties: 1, description: 'Null removes a bound; a bound that is not named stays.' },
);

export const StockBody = Type.Object(
  {
    delta: Type.Integer({ minimum: -TOTAL_MAX, maximum: TOTAL_MAX, description: 'Not 0.' }),
    // No control characters, and no lone surrogates, which have no UTF-8 form to be stored in.
    reason: Type.String({ minLength: 1, maxLength: REASON_LENGTH_MAX, pattern: '^[^\\p{Cc}\\p{Cs}]*$' }),
  },
  Strict,
);

const Nullable = {
  count: Type.Unsafe<number | null>({ type: ['integer', 'null'] }),
  state: Type.Unsafe<CouponState | null>({
    type: ['string', 'null'],
    enum: [...COUPON_STATES, null],
  }),
};

export const CouponBody = Type.Object({
  couponId: Type.String(),
  total: Type.Integer(),
  state: Nullable.state,
  remaining: Nullable.count,
  claimed: Nullable.count,
  returned: Nullable.count,
  ceiling: Nullable.count,
  ledger: Type.Object({ claimed: Type.Integer(), returned: Type.Integer() }, { description: 'What MySQL holds.' }),
  withheld: Type.Integer(),
  opensAt: Timestamp,
  closesAt: Timestamp,
  paused: Type.Boolean(),
  ack: AckName,
  returnable: Type.Boolean(),
  version: Type.Integer(),
  shard: Type.Integer(),
  createdAt: Type.String({ format: 'date-time' }),
  archivedAt: Timestamp,
});
export type CouponBody = Static<typeof CouponBody>;

export const CouponPage = Type.Object({
  coupons: Type.Array(CouponBody),
  next: Type.Unsafe<string | null>({ type: ['string', 'null'], description: '`after` of the next page.' }),
});

export const AdjustmentBody = Type.Object({
  couponId: Type.String(),
  delta: Type.Integer(),
  reason: Type.String(),
  idempotencyKey: Type.String(),
  by: Type.String(),
  version: Type.Integer(),
  requestedAt: Type.String({ format: 'date-time' }),
  coupon: CouponBody,
});

export const ClaimBody = Type.Object({
  couponId: Type.String(),
  claimNo: Type.Integer(),
  userId: Type.String(),
  claimedAt: Type.String({ format: 'date-time' }),
  returnedAt: Timestamp,
});
export type ClaimBody = Static<typeof ClaimBody>;

export const ClaimPage = Type.Object({ claims: Type.Array(ClaimBody), next: Nullable.count });

/** `state` to `ceiling` are what Redis says, null while it cannot be asked. */
export function couponBody({ live, opensAt, closesAt, createdAt, archivedAt, ...coupon }: CouponDetails): CouponBody {
  return {
    ...coupon,
    state: live?.state ?? null,
    remaining: live?.remaining ?? null,
    claimed: live?.claimed ?? null,
    returned: live?.returned ?? null,
    ceiling: live?.ceiling ?? null,
    opensAt: isoOrNull(opensAt),
    closesAt: isoOrNull(closesAt),
    createdAt: new Date(createdAt).toISOString(),
    archivedAt: isoOrNull(archivedAt),
  };
}

export function claimBody({ claimedAt, returnedAt, ...claim }: ClaimRow): ClaimBody {
  return { ...claim, claimedAt: new Date(claimedAt).toISOString(), returnedAt: isoOrNull(returnedAt) };
}

/** Epoch milliseconds of a date-time that fits its schema; undefined and null pass through. Throws `invalid_body`. */
export function epochMs(member: string, text: string | null | undefined): number | null | undefined {
  if (text === null || text === undefined) return text;
  // The format also knows leap seconds and years that a Date or MySQL does not.
  const value = Date.parse(text);
  if (value >= 0 && value <= TIME_MAX_MS) return value;
  throw new StampedeError('invalid_body', `${member} must be a time from 1970 to 9999.`);
}
