// The claims of a coupon as MySQL holds them: in pages, or all of them as a CSV stream. Reads only.
import { Readable } from 'node:stream';
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { ClaimFilter, Coupons } from '../../coupons/coupons.js';
import { TOTAL_MAX } from '../../coupons/definition.js';
import { isCouponId, isUserId } from '../../coupons/ids.js';
import { StampedeError } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import { CouponParams } from '../http/schemas.js';
import { csvLine } from './csv.js';
import { numbersIn } from './query-numbers.js';
import { claimBody, ClaimPage } from './schemas.js';

const PAGE_LIMIT_MAX = 1_000;
const PAGE_LIMIT_DEFAULT = 100;
/** Rows of one read of a CSV stream: about 100 KiB of text in memory at a time. */
const CSV_PAGE_ROWS = 1_000;
const CSV_COLUMNS = ['couponId', 'claimNo', 'userId', 'claimedAt', 'returnedAt'] as const;

/** To a client a text; to Fastify the stream of it. */
const CsvText = Type.Unsafe<Readable>({ type: 'string' });

const Query = Type.Object(
  {
    user: Type.Optional(Type.String({ description: 'Only the claim of this user.' })),
    no: Type.Optional(Type.Integer({ minimum: 1, maximum: TOTAL_MAX, description: 'Only the claim of this number.' })),
    after: Type.Optional(Type.Integer({ minimum: 0, description: '`next` of the page before.' })),
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: PAGE_LIMIT_MAX, description: `Default ${PAGE_LIMIT_DEFAULT}.` }),
    ),
    format: Type.Optional(
      Type.Unsafe<'json' | 'csv'>({ type: 'string', enum: ['json', 'csv'], description: 'csv: every row, streamed.' }),
    ),
  },
  { additionalProperties: false },
);

export function claimListRoutes(coupons: Coupons, log: Log): FastifyPluginCallbackTypebox {
  return (app, _options, done) => {
    app.get(
      '/v1/coupons/:couponId/claims',
      {
        preValidation: numbersIn('no', 'after', 'limit'),
        config: {
          problems: [
            ...(['unauthenticated', 'invalid_coupon_id', 'invalid_user_id', 'invalid_query'] as const),
            ...(['unknown_coupon', 'unavailable'] as const),
          ],
        },
        schema: {
          summary: 'Claims in the ledger, by number',
          tags: ['claims'],
          params: CouponParams,
          querystring: Query,
          response: {
            200: {
              description: 'A page, or every row.',
              content: { 'application/json': { schema: ClaimPage }, 'text/csv': { schema: CsvText } },
            },
          },
        },
      },
      async (request, reply) => {
        const { couponId } = request.params;
        const { user, no, after = 0, limit = PAGE_LIMIT_DEFAULT, format } = request.query;
        if (!isCouponId(couponId)) throw new StampedeError('invalid_coupon_id');
        if (user !== undefined && !isUserId(user)) throw new StampedeError('invalid_user_id');
        const filter = {
          after,
          ...(user !== undefined && { userId: user }),
          ...(no !== undefined && { claimNo: no }),
        };
        if (format !== 'csv') {
          const { claims, next } = await coupons.claims(couponId, { ...filter, limit });
          return reply.code(200).send({ claims: claims.map(claimBody), next });
        }
        const pages = csvPages(coupons, couponId, { ...filter, limit: CSV_PAGE_ROWS });
        // The first page before the first byte: an unknown coupon is a 404, not a broken download.
        const first = await pages.next();
        reply.header('content-type', 'text/csv; charset=utf-8');
        reply.header('content-disposition', `attachment; filename="${couponId}-claims.csv"`);
        const stream = withFirst(first, pages, (error) => {
          log.error({ err: error, requestId: request.id, couponId }, 'a CSV stream broke off');
        });
        return reply.send(Readable.from(stream));
      },
    );
    done();
  };
}

/** CSV text, a page of rows at a time; the next page is read when the client has taken the one before. */
async function* csvPages(coupons: Coupons, couponId: string, filter: ClaimFilter): AsyncGenerator<string, undefined> {
  let { after } = filter;
  let header = csvLine(CSV_COLUMNS);
  for (;;) {
    const { claims, next } = await coupons.claims(couponId, { ...filter, after });
    yield claims.reduce((text, row) => {
      const claim = claimBody(row);
      return text + csvLine(CSV_COLUMNS.map((column) => claim[column] ?? ''));
    }, header);
    if (next === null) return;
    header = '';
    after = next;
  }
}

/** A stream that breaks off can tell its client nothing any more: the connection is cut, and the log says why. */
async function* withFirst(
  first: IteratorResult<string, undefined>,
  rest: AsyncGenerator<string, undefined>,
  onError: (error: unknown) => void,
): AsyncGenerator<string> {
  if (first.done !== true) yield first.value;
  try {
    yield* rest;
  } catch (error) {
    onError(error);
    throw error;
  }
}
