// The route of a claim as every peer serves it: the path, the schemas and the header check of the service's own route, so that
// they differ only in what is behind it.
import type { IncomingHttpHeaders } from 'node:http';
import { Type } from 'typebox';

export const CLAIM_PATH = '/v1/coupons/:couponId/claims';

const USER_ID = /^[\x20-\x7e]{1,64}$/;

const Receipt = Type.Object({
  status: Type.String(),
  couponId: Type.String(),
  userId: Type.String(),
  claimNo: Type.Integer(),
  claimedAt: Type.String({ format: 'date-time' }),
  ack: Type.String(),
});
const Refusal = Type.Object({ code: Type.String() });

export const CLAIM_SCHEMA = {
  params: Type.Object({ couponId: Type.String() }),
  response: { 200: Receipt, 201: Receipt, 401: Refusal, 409: Refusal },
};

/** Undefined when the header is missing or no user id. */
export function userOf(headers: IncomingHttpHeaders): string | undefined {
  const userId = headers['x-user-id'];
  return typeof userId === 'string' && USER_ID.test(userId) ? userId : undefined;
}

/** The body of a positive answer. */
export function receipt(status: 'claimed' | 'already_claimed', couponId: string, userId: string, claimNo: number) {
  return { status, couponId, userId, claimNo, claimedAt: new Date().toISOString(), ack: 'fsync' };
}
