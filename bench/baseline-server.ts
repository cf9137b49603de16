// What claims are compared with: a plain Fastify server with the route, the schemas, the header check and the answer of a
// claim, and nothing behind them. It runs like the service's http workers: forked by a cluster primary, connections handed
// out by the kernel. Tells its parent where it listens; ends when its parent does.
import cluster from 'node:cluster';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import fastify from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';
import { EXIT } from '../cluster/exit-codes.js';

export interface BaselineReady {
  readonly port: number;
  /** Of the workers. */
  readonly pids: readonly number[];
}

const USER_ID = /^[\x20-\x7e]{1,64}$/;

if (cluster.isPrimary) await supervise(Number(process.argv[2]));
else await serve();

async function supervise(workers: number): Promise<void> {
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  const forked = Array.from({ length: workers }, () => cluster.fork());
  const addresses = await Promise.all(
    forked.map(async (worker) => {
      const [address] = (await once(worker, 'listening')) as [AddressInfo];
      return address;
    }),
  );
  const pids = forked.flatMap((worker) => worker.process.pid ?? []);
  process.on('disconnect', () => {
    // Not killed: a profile is written at an orderly end.
    for (const worker of forked) worker.process.disconnect();
    Promise.all(forked.map((worker) => once(worker, 'exit'))).then(
      () => process.exit(),
      () => process.exit(EXIT.failed),
    );
  });
  process.send?.({ port: addresses[0]?.port ?? 0, pids } satisfies BaselineReady);
}

async function serve(): Promise<void> {
  process.on('disconnect', () => process.exit());
  const app = fastify().withTypeProvider<TypeBoxTypeProvider>();
  let claims = 0;
  app.post(
    '/v1/coupons/:couponId/claims',
    {
      schema: {
        params: Type.Object({ couponId: Type.String() }),
        response: {
          201: Type.Object({
            status: Type.Literal('claimed'),
            couponId: Type.String(),
            userId: Type.String(),
            claimNo: Type.Integer(),
            claimedAt: Type.String({ format: 'date-time' }),
            ack: Type.String(),
          }),
          401: Type.Object({ code: Type.String() }),
        },
      },
    },
    (request, reply) => {
      const userId = request.headers['x-user-id'];
      if (typeof userId !== 'string' || !USER_ID.test(userId)) {
        reply.code(401).send({ code: 'unauthenticated' });
        return;
      }
      const claimNo = ++claims;
      reply.header('x-request-id', request.id);
      reply.code(201).send({
        status: 'claimed',
        couponId: request.params.couponId,
        userId,
        claimNo,
        claimedAt: new Date().toISOString(),
        ack: 'fsync',
      });
    },
  );
  app.get('/healthz', (_request, reply) => reply.send({ status: 'ok' }));
  // Port 0 is the same port for all workers of a cluster.
  await app.listen({ host: '127.0.0.1', port: 0 });
}
