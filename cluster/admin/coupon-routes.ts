// What operators do with coupons over HTTP: create, show, list, change. Checks shapes and hands over to `Coupons`.
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Coupons } from '../../coupons/coupons.js';
import { isCouponId } from '../../coupons/ids.js';
import { StampedeError } from '../../platform/errors.js';
import type { ErrorCode } from '../../platform/errors.js';
import { CouponParams } from '../http/schemas.js';
import { numbersIn } from './query-numbers.js';
import {
  AdjustmentBody,
  CouponBody,
  couponBody,
  CouponPage,
  epochMs,
  NewCouponBody,
  StockBody,
  WindowBody,
} from './schemas.js';

const PAGE_LIMIT_MAX = 200;
const PAGE_LIMIT_DEFAULT = 50;
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,64}$/;
/** Whom the stock log names: the admin API knows one token and no people. */
const ADMIN = 'admin';

const BODY: readonly ErrorCode[] = ['invalid_json', 'invalid_body', 'body_too_large', 'unsupported_media_type'];
const READ: readonly ErrorCode[] = ['unauthenticated', 'invalid_coupon_id', 'unknown_coupon', 'unavailable'];
const CHANGE: readonly ErrorCode[] = [...READ, ...BODY, 'fenced', 'change_pending', 'archived', 'outcome_unknown'];

export function couponRoutes(coupons: Coupons): FastifyPluginCallbackTypebox {
  return (app, _options, done) => {
    app.post(
      '/v1/coupons',
      {
        config: {
          problems: [
            ...BODY,
            ...(['unauthenticated', 'invalid_coupon_id', 'invalid_window', 'coupon_exists'] as const),
            ...(['ack_unavailable', 'unavailable', 'fenced', 'change_pending', 'outcome_unknown'] as const),
          ],
        },
        schema: {
          summary: 'Create a coupon',
          description: 'The same body again answers 200 with the coupon; another body with the same id 409.',
          tags: ['coupons'],
          body: NewCouponBody,
          response: { 200: CouponBody, 201: CouponBody },
        },
      },
      async (request, reply) => {
        const { couponId, total, ack, returnable = false } = request.body;
        checkCouponId(couponId);
        const opensAt = epochMs('opensAt', request.body.opensAt) ?? null;
        const closesAt = epochMs('closesAt', request.body.closesAt) ?? null;
        if (opensAt !== null && closesAt !== null && closesAt <= opensAt) throw new StampedeError('invalid_window');
        const { created, coupon } = await coupons.create({ couponId, total, opensAt, closesAt, ack, returnable });
        reply.code(created ? 201 : 200);
        return couponBody(coupon);
      },
    );

    app.get(
      '/v1/coupons',
      {
        preValidation: numbersIn('limit'),
        config: { problems: ['unauthenticated', 'invalid_query', 'unavailable'] },
        schema: {
          summary: 'List coupons by id',
          tags: ['coupons'],
          querystring: Type.Object(
            {
              limit: Type.Optional(
                Type.Integer({ minimum: 1, maximum: PAGE_LIMIT_MAX, description: `Default ${PAGE_LIMIT_DEFAULT}.` }),
              ),
              after: Type.Optional(
                Type.String({ pattern: '^[A-Za-z0-9_-]{0,64}$', description: '`next` of the page before.' }),
              ),
            },
            { additionalProperties: false },
          ),
          response: { 200: CouponPage },
        },
      },
      async (request) => {
        const { limit = PAGE_LIMIT_DEFAULT, after = '' } = request.query;
        const page = await coupons.list({ after, limit });
        return { coupons: page.coupons.map(couponBody), next: page.next };
      },
    );

    app.get(
      '/v1/coupons/:couponId',
      {
        config: { problems: READ },
        schema: {
          summary: 'Show a coupon with its ledger counts',
          description:
            '`state`, `remaining`, `claimed`, `returned` and `ceiling` are null while Redis cannot be asked.',
          tags: ['coupons'],
          params: CouponParams,
          response: { 200: CouponBody },
        },
      },
      async (request) => couponBody(await coupons.show(checkCouponId(request.params.couponId))),
    );

    app.patch(
      '/v1/coupons/:couponId',
      {
        config: { problems: [...CHANGE, 'invalid_window'] },
        schema: {
          summary: 'Change the window',
          tags: ['coupons'],
          params: CouponParams,
          body: WindowBody,
          response: { 200: CouponBody },
        },
      },
      async (request) => {
        const couponId = checkCouponId(request.params.couponId);
        const opensAt = epochMs('opensAt', request.body.opensAt);
        const closesAt = epochMs('closesAt', request.body.closesAt);
        return couponBody(await coupons.setWindow(couponId, { opensAt, closesAt }));
      },
    );

    for (const verb of ['pause', 'resume'] as const) {
      app.post(
        `/v1/coupons/:couponId/${verb}`,
        {
          config: { problems: CHANGE },
          schema: {
            summary: verb === 'pause' ? 'Stop new claims' : 'Let claims go on',
            description: 'Repeating it is harmless.',
            tags: ['coupons'],
            params: CouponParams,
            response: { 200: CouponBody },
          },
        },
        async (request) => couponBody(await coupons[verb](checkCouponId(request.params.couponId))),
      );
    }

    app.post(
      '/v1/coupons/:couponId/stock',
      {
        config: {
          problems: [
            ...CHANGE,
            ...(['invalid_idempotency_key', 'idempotency_key_reused', 'below_claimed', 'stock_too_large'] as const),
          ],
        },
        schema: {
          summary: 'Grant more units or take some back',
          description:
            'Needs an `Idempotency-Key` header of 1 to 64 visible ASCII characters. ' +
            'The same key with the same change answers with the first adjustment again.',
          tags: ['coupons'],
          params: CouponParams,
          body: StockBody,
          response: { 200: AdjustmentBody },
        },
      },
      async (request) => {
        const couponId = checkCouponId(request.params.couponId);
        const idempotencyKey = request.headers['idempotency-key'];
        if (typeof idempotencyKey !== 'string' || !IDEMPOTENCY_KEY.test(idempotencyKey)) {
          throw new StampedeError('invalid_idempotency_key');
        }
        const { delta, reason } = request.body;
        if (delta === 0) throw new StampedeError('invalid_body', 'delta must not be 0');
        const { adjustment, coupon } = await coupons.adjust(couponId, { delta, reason, idempotencyKey, by: ADMIN });
        return {
          ...adjustment,
          requestedAt: new Date(adjustment.requestedAt).toISOString(),
          coupon: couponBody(coupon),
        };
      },
    );
    done();
  };
}

function checkCouponId(couponId: string): string {
  if (!isCouponId(couponId)) throw new StampedeError('invalid_coupon_id');
  return couponId;
}
