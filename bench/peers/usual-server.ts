// The usual design of a coupon service on Node, as tutorials and many shops have it, written well: Fastify and ioredis; SISMEMBER
// sends away who has a claim; an atomic Lua script, called by its hash, decides about stock and membership; each claim is added to
// a BullMQ queue before the answer, and a worker (usual-worker.ts) writes it to MySQL.
import fastify from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { CLAIM_PATH, CLAIM_SCHEMA, receipt, userOf } from './claim-route.js';
import { runServer } from './server-workers.js';
import type { ClaimJob } from './usual-design.js';
import { QUEUE, stockKey, usersKey } from './usual-design.js';

/** KEYS: stock, users. ARGV: user. The number of the claim (they count down), 0: sold out, -1: has one. */
const CLAIM_SCRIPT = `
  if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return -1 end
  local stock = tonumber(redis.call('GET', KEYS[1]) or '0')
  if stock <= 0 then return 0 end
  redis.call('DECR', KEYS[1])
  redis.call('SADD', KEYS[2], ARGV[1])
  return stock`;
const JOB_OPTIONS = { removeOnComplete: true, attempts: 5, backoff: { type: 'exponential', delay: 1_000 } } as const;

declare module 'ioredis' {
  interface RedisCommander {
    claimCoupon(stock: string, users: string, userId: string): Promise<number>;
  }
}

await runServer(async ({ redisUrl = '', autoPipelining = false }) => {
  const redis = new Redis(redisUrl, { enableAutoPipelining: autoPipelining });
  redis.defineCommand('claimCoupon', { numberOfKeys: 2, lua: CLAIM_SCRIPT });
  const queue = new Queue<ClaimJob>(QUEUE, { connection: redis });
  const app = fastify().withTypeProvider<TypeBoxTypeProvider>();

  app.post(CLAIM_PATH, { schema: CLAIM_SCHEMA }, async (request, reply) => {
    const userId = userOf(request.headers);
    if (userId === undefined) return reply.code(401).send({ code: 'unauthenticated' });
    const { couponId } = request.params;
    const users = usersKey(couponId);
    reply.header('x-request-id', request.id);
    if ((await redis.sismember(users, userId)) === 1) return reply.code(409).send({ code: 'already_claimed' });
    const claimNo = await redis.claimCoupon(stockKey(couponId), users, userId);
    if (claimNo === 0) return reply.code(409).send({ code: 'sold_out' });
    if (claimNo === -1) return reply.code(409).send({ code: 'already_claimed' });
    const answer = receipt('claimed', couponId, userId, claimNo);
    await queue.add('claim', { couponId, userId, claimNo, claimedAt: answer.claimedAt }, JOB_OPTIONS);
    return reply.code(201).send(answer);
  });
  app.get('/healthz', (_request, reply) => reply.send({ status: 'ok' }));
  await app.listen({ host: '127.0.0.1', port: 0 });
});
