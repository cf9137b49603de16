// What Stampede would be without its batches: Fastify, one call of the same lua/claim.lua for each claim, the same outbox, ledger
// and MySQL (of the service beside which it runs). It stands for designs that are atomic but ask Redis once per request.
import fastify from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { decodeReply, encodeClaims } from '../../cluster/claims/claim-call.js';
import { PendingClaim } from '../../cluster/claims/mailbox.js';
import { fenceKey, shardOf } from '../../coupons/keys.js';
import { loadScripts, runScript } from '../../lua/scripts.js';
import { createLog } from '../../platform/log.js';
import { connectRedis, whenRedisReady } from '../../platform/redis.js';
import { CLAIM_PATH, CLAIM_SCHEMA, receipt, userOf } from './claim-route.js';
import { runServer } from './server-workers.js';

const COMMAND_TIMEOUT_MS = 30_000;

await runServer(async ({ redisUrl = '', shardCount = 1 }) => {
  const { claim } = loadScripts();
  const redis = connectRedis(
    redisUrl,
    { kind: 'request', commandTimeoutMs: COMMAND_TIMEOUT_MS },
    createLog('peer', 'silent'),
  );
  await whenRedisReady(redis, COMMAND_TIMEOUT_MS);
  const epochs = await Promise.all(
    Array.from({ length: shardCount }, async (_, shard) => Number(await redis.hget(fenceKey(shard), 'epoch'))),
  );
  const app = fastify().withTypeProvider<TypeBoxTypeProvider>();

  app.post(CLAIM_PATH, { schema: CLAIM_SCHEMA }, async (request, reply) => {
    const userId = userOf(request.headers);
    if (userId === undefined) return reply.code(401).send({ code: 'unauthenticated' });
    const { couponId } = request.params;
    const shard = shardOf(couponId, shardCount);
    const call = encodeClaims(shard, epochs[shard] ?? 0, [
      new PendingClaim(couponId, userId, Infinity, () => undefined),
    ]);
    const reading = decodeReply(await runScript(redis, claim, call.keys, call.args), call);
    const outcome = reading === 'fenced' ? undefined : reading.outcomes[0];
    reply.header('x-request-id', request.id);
    if (outcome?.status === 'claimed' || outcome?.status === 'already_claimed') {
      const code = outcome.status === 'claimed' ? 201 : 200;
      return reply.code(code).send(receipt(outcome.status, couponId, userId, outcome.receipt.claimNo));
    }
    return reply.code(409).send({ code: outcome?.status === 'refused' ? outcome.code : 'fenced' });
  });
  app.get('/healthz', (_request, reply) => reply.send({ status: 'ok' }));
  await app.listen({ host: '127.0.0.1', port: 0 });
});
