// `POST /v1/coupons/{id}/claims:batch`: claims for many users in one request, for servers that the service trusts. Each
// user is answered as by a claim of its own, and the whole list goes to the mailbox in one piece.
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { isCouponId, isUserId, USER_ID_BYTES_MAX } from '../../coupons/ids.js';
import { StampedeError } from '../../platform/errors.js';
import type { ErrorCode } from '../../platform/errors.js';
import type { Settings } from '../../platform/settings.js';
import type { ClaimOutcome, ClaimService } from '../claims/claim-service.js';
import { CLAIM_REFUSALS, receiptMembers, refuse } from './claim-routes.js';
import { createAdmitServer } from './identity.js';
import { CouponParams, isoOrNull } from './schemas.js';

export const BATCH_USERS_MAX = 1_000;
/** Ids of full length, at the worst with every byte escaped as `\u00xx`, with quotes and comma; and the rest. */
const BODY_BYTES_MAX = BATCH_USERS_MAX * (USER_ID_BYTES_MAX * 6 + 3) + 1_024;

const Body = Type.Object(
  {
    users: Type.Array(Type.String(), {
      minItems: 1,
      maxItems: BATCH_USERS_MAX,
      description: 'User ids. One that is malformed is refused with `invalid_user_id`; the others are served.',
    }),
  },
  { additionalProperties: false },
);

const Answered = Type.Object({
  status: Type.Unsafe<'claimed' | 'already_claimed'>({ type: 'string', enum: ['claimed', 'already_claimed'] }),
  ...receiptMembers,
});
const Refused = Type.Object({
  status: Type.Literal('refused'),
  couponId: Type.String(),
  userId: Type.String(),
  code: Type.Unsafe<ErrorCode>({ type: 'string', enum: [...CLAIM_REFUSALS, 'invalid_user_id'] }),
  opensAt: Type.Optional(Type.String({ format: 'date-time', description: 'With not_open.' })),
  returnedAt: Type.Optional(Type.String({ format: 'date-time', description: 'With returned.' })),
});
const Results = Type.Object({
  claims: Type.Array(Type.Union([Answered, Refused]), { description: 'One for each user, in the order of the users.' }),
});

export function claimBatchRoutes(
  claims: ClaimService,
  settings: Pick<Settings, 'authMode' | 'gatewayToken'>,
): FastifyPluginCallbackTypebox {
  const admitServer = createAdmitServer(settings);
  return (app, _options, done) => {
    app.post(
      // Two colons stand for one that begins no parameter.
      '/v1/coupons/:couponId/claims::batch',
      {
        bodyLimit: BODY_BYTES_MAX,
        // For a thousand small objects the native serialiser is several times as fast as one that decides a union.
        serializerCompiler: () => JSON.stringify,
        onRequest: (request, reply, next) => {
          const refusal = admitServer(request.raw);
          if (refusal === undefined) next();
          else refuse(reply, refusal);
        },
        config: {
          cost: 'batch',
          problems: [
            ...(['invalid_coupon_id', 'invalid_json', 'invalid_body', 'body_too_large'] as const),
            ...(['unsupported_media_type', 'unauthenticated', 'forbidden', 'rate_limited', 'overloaded'] as const),
          ],
        },
        schema: {
          summary: `Claim for up to ${BATCH_USERS_MAX} users`,
          description:
            'For trusted servers, in AUTH_MODE=trusted only. Each user is answered as by a claim of its own, with the ' +
            'same guarantees: some may be granted and others refused. Safe to repeat, as a whole or in part.',
          tags: ['claims'],
          security: settings.gatewayToken === undefined ? [] : [{ gateway: [] }],
          params: CouponParams,
          body: Body,
          response: { 200: Results },
        },
      },
      async (request) => {
        const { couponId } = request.params;
        const { users } = request.body;
        if (!isCouponId(couponId)) throw new StampedeError('invalid_coupon_id');
        const valid = users.map(isUserId);
        const outcomes = await claims.claimAll(
          couponId,
          users.filter((_userId, i) => valid[i]),
        );
        const isoOf = createIsoOf();
        let next = 0;
        return {
          claims: users.map((userId, i) => {
            const outcome = valid[i] === true ? outcomes[next++] : INVALID;
            if (outcome === undefined) throw new Error('a claim of a batch has no outcome');
            return resultOf(couponId, userId, outcome, isoOf);
          }),
        };
      },
    );
    done();
  };
}

const INVALID: ClaimOutcome = { status: 'refused', code: 'invalid_user_id' };

function resultOf(couponId: string, userId: string, outcome: ClaimOutcome, isoOf: (epochMs: number) => string) {
  if (outcome.status === 'refused') {
    const { status, code, opensAt, returnedAt } = outcome;
    return {
      ...{ status, couponId, userId, code },
      ...(opensAt !== undefined && { opensAt: isoOf(opensAt) }),
      ...(returnedAt !== undefined && { returnedAt: isoOf(returnedAt) }),
    };
  }
  const { claimNo, claimedAt, ack } = outcome.receipt;
  return { status: outcome.status, couponId, userId, claimNo, claimedAt: isoOf(claimedAt), ack };
}

/** The grants of one script call share their time, so the last text is kept. */
function createIsoOf(): (epochMs: number) => string {
  let last = NaN;
  let text = '';
  return (epochMs) => {
    if (epochMs !== last) {
      last = epochMs;
      text = isoOrNull(epochMs) ?? '';
    }
    return text;
  };
}
