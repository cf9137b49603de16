// The floor: a plain Fastify server with the route, the schemas, the header check and the answer of a claim, and nothing behind
// them. No design; what any design on Fastify costs at the least.
import fastify from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { CLAIM_PATH, CLAIM_SCHEMA, receipt, userOf } from './claim-route.js';
import { runServer } from './server-workers.js';

await runServer(async () => {
  const app = fastify().withTypeProvider<TypeBoxTypeProvider>();
  let claims = 0;
  app.post(CLAIM_PATH, { schema: CLAIM_SCHEMA }, (request, reply) => {
    const userId = userOf(request.headers);
    if (userId === undefined) {
      reply.code(401).send({ code: 'unauthenticated' });
      return;
    }
    reply.header('x-request-id', request.id);
    reply.code(201).send(receipt('claimed', request.params.couponId, userId, ++claims));
  });
  app.get('/healthz', (_request, reply) => reply.send({ status: 'ok' }));
  await app.listen({ host: '127.0.0.1', port: 0 });
});
