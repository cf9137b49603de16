// Dead letters, for operators: what the ledger could not settle, and another attempt.
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { DeadLetters } from '../../coupons/dead-letter-retry.js';
import type { DeadLetter } from '../../coupons/dead-letters.js';
import { StampedeError } from '../../platform/errors.js';
import { isoOrNull, Timestamp } from '../http/schemas.js';
import { numbersIn } from './query-numbers.js';

const PAGE_LIMIT_MAX = 1_000;
const PAGE_LIMIT_DEFAULT = 100;
const LETTER_ID = /^[1-9]\d{0,14}$/;

const KINDS: readonly DeadLetter['kind'][] = ['grant', 'return', 'change', 'unreadable'];
const STATUSES: readonly DeadLetter['status'][] = ['retrying', 'parked'];

const LetterBody = Type.Object({
  id: Type.Integer(),
  shard: Type.Integer(),
  kind: Type.Unsafe<DeadLetter['kind']>({ type: 'string', enum: KINDS }),
  couponId: Type.Unsafe<string | null>({ type: ['string', 'null'] }),
  claimNo: Type.Unsafe<number | null>({ type: ['integer', 'null'] }),
  userId: Type.Unsafe<string | null>({ type: ['string', 'null'] }),
  reason: Type.String({ description: 'Of the latest attempt.' }),
  status: Type.Unsafe<DeadLetter['status']>({
    type: 'string',
    enum: STATUSES,
    description: '`retrying`: tried again by itself. `parked`: tried again only when somebody asks for it.',
  }),
  attempts: Type.Integer(),
  nextAttemptAt: Timestamp,
  createdAt: Type.String({ format: 'date-time' }),
  fields: Type.Array(Type.String(), { description: 'Names and values of the outbox entry, in turn.' }),
});
export type LetterBody = ReturnType<typeof letterBody>;

const LetterPage = Type.Object({
  deadLetters: Type.Array(LetterBody),
  next: Type.Unsafe<number | null>({ type: ['integer', 'null'], description: '`after` of the next page.' }),
});

export function deadLetterRoutes(deadLetters: DeadLetters): FastifyPluginCallbackTypebox {
  return (app, _options, done) => {
    app.get(
      '/v1/dead-letters',
      {
        preValidation: numbersIn('after', 'limit'),
        config: { problems: ['unauthenticated', 'invalid_query', 'unavailable'] },
        schema: {
          summary: 'Outbox entries that MySQL does not take, by id',
          tags: ['operations'],
          querystring: Type.Object(
            {
              after: Type.Optional(Type.Integer({ minimum: 0, description: '`next` of the page before.' })),
              limit: Type.Optional(
                Type.Integer({ minimum: 1, maximum: PAGE_LIMIT_MAX, description: `Default ${PAGE_LIMIT_DEFAULT}.` }),
              ),
            },
            { additionalProperties: false },
          ),
          response: { 200: LetterPage },
        },
      },
      async (request) => {
        const { after = 0, limit = PAGE_LIMIT_DEFAULT } = request.query;
        const { letters, next } = await deadLetters.list({ after, limit });
        return { deadLetters: letters.map(letterBody), next };
      },
    );

    app.post(
      '/v1/dead-letters/:id/retry',
      {
        config: {
          problems: [
            ...(['unauthenticated', 'unknown_dead_letter', 'dead_letter_refused'] as const),
            ...(['invalid_json', 'invalid_body', 'body_too_large', 'unsupported_media_type'] as const),
            ...(['unavailable', 'fenced', 'outcome_unknown'] as const),
          ],
        },
        schema: {
          summary: 'Try one again, now',
          description: 'Answers when it is settled, and gone from the list. Repeating it is harmless.',
          tags: ['operations'],
          params: Type.Object({ id: Type.String({ description: 'A whole number.' }) }),
          response: { 200: Type.Object({ id: Type.Integer(), status: Type.Literal('settled') }) },
        },
      },
      async (request) => {
        const { id } = request.params;
        if (!LETTER_ID.test(id)) throw new StampedeError('unknown_dead_letter');
        await deadLetters.retry(Number(id));
        return { id: Number(id), status: 'settled' as const };
      },
    );
    done();
  };
}

function letterBody({ fields, nextAttemptAt, createdAt, ...letter }: DeadLetter) {
  return {
    ...letter,
    nextAttemptAt: isoOrNull(nextAttemptAt),
    createdAt: new Date(createdAt).toISOString(),
    fields: [...fields],
  };
}
