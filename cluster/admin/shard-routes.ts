// What operators do when Redis has forgotten: look at the shards, have one rebuilt, release what is withheld. All of it is
// done without them, too; docs/protocol.md says how.
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import type { CouponsService } from '../../coupons/coupons.js';
import { isCouponId } from '../../coupons/ids.js';
import type { ShardRow } from '../../coupons/shards.js';
import { StampedeError } from '../../platform/errors.js';
import type { ErrorCode } from '../../platform/errors.js';
import { CouponParams } from '../http/schemas.js';
import { CouponBody, couponBody } from './schemas.js';

const ShardBody = Type.Object({
  shard: Type.Integer(),
  epoch: Type.Integer({ description: 'Grows with every rebuild.' }),
  state: Type.Unsafe<ShardRow['state']>({
    type: 'string',
    enum: ['fenced', 'rebuilding', 'open'],
    description: '`fenced`: to be rebuilt; claims of its coupons get 503 until it is open.',
  }),
  mysqlOlder: Type.Optional(
    Type.String({
      description: 'By what one sees that MySQL is older than Redis: no shard is served until that is mended.',
    }),
  ),
});
export type ShardBody = Static<typeof ShardBody>;

const BODY: readonly ErrorCode[] = ['invalid_json', 'invalid_body', 'body_too_large', 'unsupported_media_type'];
const CHANGE: readonly ErrorCode[] = [...BODY, 'unauthenticated', 'unavailable', 'outcome_unknown'];

export type ShardOperations = Pick<CouponsService, 'shards' | 'rebuildShard' | 'releaseWithheld'>;

export function shardRoutes(coupons: ShardOperations): FastifyPluginCallbackTypebox {
  return (app, _options, done) => {
    app.get(
      '/v1/shards',
      {
        config: { problems: ['unauthenticated', 'unavailable'] },
        schema: {
          summary: 'Every shard, as MySQL has it',
          tags: ['operations'],
          response: { 200: Type.Object({ shards: Type.Array(ShardBody) }) },
        },
      },
      async () => ({ shards: (await coupons.shards()).map(shardBody) }),
    );

    app.post(
      '/v1/shards/:shard/rebuild',
      {
        config: { problems: [...CHANGE, 'not_found', 'mysql_older_than_redis'] },
        schema: {
          summary: 'Have a shard rebuilt from MySQL, the outbox and what the workers report',
          description: 'Answers at once; the ledger begins within a fraction of a second. Nothing is lost by it.',
          tags: ['operations'],
          params: Type.Object({ shard: Type.String({ pattern: '^[0-9]{1,5}$' }) }),
          response: { 202: ShardBody },
        },
      },
      async (request, reply) => {
        const shard = await coupons.rebuildShard(Number(request.params.shard));
        reply.code(202);
        return shardBody(shard);
      },
    );

    app.post(
      '/v1/coupons/:couponId/release',
      {
        config: { problems: [...CHANGE, 'invalid_coupon_id', 'unknown_coupon'] },
        schema: {
          summary: 'Release the units of claim numbers that nobody can tell of',
          description:
            'Units are withheld when Redis has forgotten and a worker that may have handed them out cannot be heard. ' +
            'Released, they are handed out again under new numbers: whoever was told one of the old numbers loses it. ' +
            'The coupon is rebuilt with its shard.',
          tags: ['coupons'],
          params: CouponParams,
          response: { 200: CouponBody },
        },
      },
      async (request) => {
        const { couponId } = request.params;
        if (!isCouponId(couponId)) throw new StampedeError('invalid_coupon_id');
        return couponBody(await coupons.releaseWithheld(couponId));
      },
    );
    done();
  };
}

function shardBody({ shard, epoch, state, mysqlOlder }: ShardRow & Pick<ShardBody, 'mysqlOlder'>): ShardBody {
  return { shard, epoch, state, ...(mysqlOlder !== undefined && { mysqlOlder }) };
}
