// The routes of the public API: claim, receipt, return, coupon. Turns requests into calls of the claim service and its plain
// outcomes into answers. Knows no Redis; decides nothing about coupons.
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { ACKS, COUPON_STATES } from '../../coupons/definition.js';
import type { Ack, CouponState } from '../../coupons/definition.js';
import { isCouponId } from '../../coupons/ids.js';
import type { ErrorCode } from '../../platform/errors.js';
import { messageOf } from '../../platform/errors.js';
import type { ClaimOutcome, ClaimService, Refusal as ClaimRefusal } from '../claims/claim-service.js';
import type { Identify, Refusal } from './identity.js';
import { sendProblem } from './problems.js';
import type { ProblemReply } from './problems.js';
import { CouponParams, isoOrNull, Timestamp } from './schemas.js';

export const receiptMembers = {
  couponId: Type.String(),
  userId: Type.String(),
  claimNo: Type.Integer({ description: '1 for the first claim of the coupon, without gaps.' }),
  claimedAt: Type.String({ format: 'date-time' }),
  ack: Type.Unsafe<Ack>({ type: 'string', enum: ACKS, description: 'The acknowledgement level that was reached.' }),
};
const Claimed = Type.Object({ status: Type.Literal('claimed'), ...receiptMembers });
const AlreadyClaimed = Type.Object({ status: Type.Literal('already_claimed'), ...receiptMembers });
const Returned = Type.Object({
  status: Type.Literal('returned'),
  ...receiptMembers,
  returnedAt: Type.String({ format: 'date-time' }),
});

const CouponBody = Type.Object({
  couponId: Type.String(),
  state: Type.Unsafe<CouponState>({ type: 'string', enum: COUPON_STATES }),
  total: Type.Integer(),
  remaining: Type.Integer(),
  opensAt: Timestamp,
  closesAt: Timestamp,
});

const BUSY: readonly ErrorCode[] = ['overloaded', 'fenced', 'unavailable', 'outcome_unknown'];
/** What a claim can be told about itself, whoever asks. */
export const CLAIM_REFUSALS: readonly ErrorCode[] = [
  ...(['sold_out', 'not_open', 'ended', 'paused', 'returned', 'unknown_coupon', 'ledger_behind'] as const),
  ...BUSY,
];
const CLAIM_PROBLEMS: readonly ErrorCode[] = [
  ...CLAIM_REFUSALS,
  ...(['invalid_coupon_id', 'invalid_user_id', 'invalid_json', 'invalid_body'] as const),
  ...(['body_too_large', 'unsupported_media_type', 'unauthenticated', 'rate_limited'] as const),
];
const RECEIPT_PROBLEMS: readonly ErrorCode[] = [
  ...(['not_claimed', 'returned', 'unknown_coupon'] as const),
  ...(['invalid_coupon_id', 'invalid_user_id', 'unauthenticated'] as const),
  'rate_limited',
  ...BUSY,
];
const RETURN_PROBLEMS: readonly ErrorCode[] = [
  ...(['not_claimed', 'not_returnable', 'archived', 'unknown_coupon'] as const),
  ...(['invalid_coupon_id', 'invalid_user_id', 'invalid_json', 'invalid_body'] as const),
  ...(['body_too_large', 'unsupported_media_type', 'unauthenticated'] as const),
  'rate_limited',
  ...BUSY,
];
const COUPON_PROBLEMS: readonly ErrorCode[] = ['unknown_coupon', 'invalid_coupon_id', 'rate_limited', ...BUSY];

/** The user is asked for where the answer depends on who asks. */
export function claimRoutes(claims: ClaimService, identify: Identify): FastifyPluginCallbackTypebox {
  return (app, _options, done) => {
    // A claim's body says nothing, so any will do; those that call themselves JSON are held to it (api-server.ts).
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, parsed) => {
      parsed(null, undefined);
    });

    app.post(
      '/v1/coupons/:couponId/claims',
      {
        config: { problems: CLAIM_PROBLEMS, cost: 'claim' },
        schema: {
          summary: 'Claim one unit',
          description:
            'Safe to repeat: whoever has a claim gets its receipt again, whatever has become of the coupon. ' +
            'The body is ignored.',
          tags: ['claims'],
          params: CouponParams,
          response: { 201: Claimed, 200: AlreadyClaimed },
        },
      },
      // No promise on the way, and none is given to Fastify, which would make another: see ClaimService.claim.
      (request, reply) => {
        const { couponId } = request.params;
        const claim = (identified: string | Refusal): void => {
          if (typeof identified !== 'string') refuse(reply, identified);
          else if (!isCouponId(couponId)) sendProblem(reply, 'invalid_coupon_id');
          else claims.claim(couponId, identified, (outcome) => answerClaim(reply, couponId, identified, outcome));
        };
        const identified = identify(request.raw);
        if (identified instanceof Promise) identified.then(claim).catch((error: unknown) => fail(reply, error));
        else claim(identified);
      },
    );

    app.get(
      '/v1/coupons/:couponId/claims/me',
      {
        config: { problems: RECEIPT_PROBLEMS },
        schema: {
          summary: 'The receipt of the user who asks',
          tags: ['claims'],
          params: CouponParams,
          response: { 200: AlreadyClaimed },
        },
      },
      async (request, reply) => {
        const { couponId } = request.params;
        const userId = await identify(request.raw);
        if (typeof userId !== 'string') {
          refuse(reply, userId);
        } else if (!isCouponId(couponId)) {
          sendProblem(reply, 'invalid_coupon_id');
        } else {
          sendOutcome(reply, couponId, userId, await claims.receipt(couponId, userId));
        }
      },
    );

    app.delete(
      '/v1/coupons/:couponId/claims/me',
      {
        config: { problems: RETURN_PROBLEMS },
        schema: {
          summary: 'Give the claim back, where the coupon is returnable',
          description:
            'The unit goes back to stock exactly once, and the user cannot claim the coupon again. ' +
            'Safe to repeat: the answer is the same again. The body is ignored.',
          tags: ['claims'],
          params: CouponParams,
          response: { 200: Returned },
        },
      },
      async (request, reply) => {
        const { couponId } = request.params;
        const userId = await identify(request.raw);
        if (typeof userId !== 'string') {
          refuse(reply, userId);
          return;
        }
        if (!isCouponId(couponId)) {
          sendProblem(reply, 'invalid_coupon_id');
          return;
        }
        const outcome = await claims.returnClaim(couponId, userId);
        if (outcome.status === 'refused') {
          sendRefusal(reply, outcome);
          return;
        }
        const { claimNo, claimedAt, returnedAt, ack } = outcome.receipt;
        reply.code(200).send({
          status: 'returned',
          couponId,
          userId,
          claimNo,
          claimedAt: new Date(claimedAt).toISOString(),
          ack,
          returnedAt: new Date(returnedAt).toISOString(),
        });
      },
    );

    app.get(
      '/v1/coupons/:couponId',
      {
        config: { problems: COUPON_PROBLEMS },
        schema: {
          summary: 'What is left of a coupon',
          tags: ['coupons'],
          security: [],
          params: CouponParams,
          response: { 200: CouponBody },
        },
      },
      async (request, reply) => {
        const { couponId } = request.params;
        if (!isCouponId(couponId)) {
          sendProblem(reply, 'invalid_coupon_id');
          return;
        }
        const coupon = await claims.coupon(couponId);
        if ('status' in coupon) {
          sendRefusal(reply, coupon);
          return;
        }
        const { state, total, remaining, opensAt, closesAt } = coupon;
        reply
          .code(200)
          .send({ couponId, state, total, remaining, opensAt: isoOrNull(opensAt), closesAt: isoOrNull(closesAt) });
      },
    );
    done();
  };
}

export function refuse(reply: ProblemReply, { code, detail, challenge }: Refusal): void {
  if (challenge !== undefined) reply.header('www-authenticate', challenge);
  sendProblem(reply, code, detail === undefined ? undefined : { detail });
}

function sendRefusal(reply: ProblemReply, { code, opensAt, returnedAt }: ClaimRefusal): void {
  if (opensAt !== undefined) sendProblem(reply, code, { extra: { opensAt: isoOrNull(opensAt) } });
  else if (returnedAt !== undefined) sendProblem(reply, code, { extra: { returnedAt: isoOrNull(returnedAt) } });
  else sendProblem(reply, code);
}

/** Never throws: the answers of a batch are given one after the other, and one that fails is nobody else's. */
function answerClaim(reply: FastifyReply, couponId: string, userId: string, outcome: ClaimOutcome): void {
  try {
    sendOutcome(reply, couponId, userId, outcome);
  } catch (error) {
    fail(reply, error);
  }
}

/** As Fastify does for a handler that throws. */
function fail(reply: FastifyReply, error: unknown): void {
  reply.send(error instanceof Error ? error : new Error(messageOf(error)));
}

function sendOutcome(reply: FastifyReply, couponId: string, userId: string, outcome: ClaimOutcome): void {
  if (outcome.status === 'refused') {
    sendRefusal(reply, outcome);
    return;
  }
  const { status, receipt } = outcome;
  const claimedAt = new Date(receipt.claimedAt).toISOString();
  reply
    .code(status === 'claimed' ? 201 : 200)
    .send({ status, couponId, userId, claimNo: receipt.claimNo, claimedAt, ack: receipt.ack });
}
