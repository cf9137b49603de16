// `/healthz`: the process answers. `/readyz`: it can do its work. The same on every port.
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';

const Healthy = Type.Object({ status: Type.Literal('ok') });
const Ready = Type.Object({ status: Type.Literal('ready') });
const Unready = Type.Object(
  { status: Type.Literal('unready'), reasons: Type.Array(Type.String()) },
  { description: 'Not ready; the reasons are short stable words such as `redis_unavailable`.' },
);

/**
 * `unreadyReasons` is empty when the process can do its work. `open`: the server admits everybody, so that neither route
 * asks for a proof; otherwise `/healthz` alone does not.
 */
export function healthRoutes(unreadyReasons: () => string[], open: boolean): FastifyPluginCallbackTypebox {
  const readyz = { summary: 'Can it do its work?', tags: ['health'], ...(open && { security: [] }) };
  return (app, _options, done) => {
    app.get(
      '/healthz',
      { schema: { summary: 'Is the process alive?', tags: ['health'], security: [], response: { 200: Healthy } } },
      (_request, reply) => {
        reply.send({ status: 'ok' });
      },
    );
    app.get('/readyz', { schema: { ...readyz, response: { 200: Ready, 503: Unready } } }, (_request, reply) => {
      const reasons = unreadyReasons();
      if (reasons.length === 0) reply.code(200).send({ status: 'ready' });
      else reply.code(503).send({ status: 'unready', reasons });
    });
    done();
  };
}
