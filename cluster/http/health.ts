// `/healthz`: the process answers. `/readyz`: it can do its work. The same on every port.
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import { Type } from 'typebox';

const Healthy = Type.Object({ status: Type.Literal('ok') });
const Ready = Type.Object({ status: Type.Literal('ready') });
const Unready = Type.Object(
  { status: Type.Literal('unready'), reasons: Type.Array(Type.String()) },
  { description: 'Not ready; the reasons are short stable words such as `redis_unavailable`.' },
);

/** `unreadyReasons` is empty when the process can do its work. */
export function healthRoutes(unreadyReasons: () => string[]): FastifyPluginCallbackTypebox {
  return (app, _options, done) => {
    app.get(
      '/healthz',
      { schema: { summary: 'Is the process alive?', tags: ['health'], security: [], response: { 200: Healthy } } },
      (_request, reply) => {
        reply.send({ status: 'ok' });
      },
    );
    app.get(
      '/readyz',
      { schema: { summary: 'Can it do its work?', tags: ['health'], response: { 200: Ready, 503: Unready } } },
      (_request, reply) => {
        const reasons = unreadyReasons();
        if (reasons.length === 0) reply.code(200).send({ status: 'ready' });
        else reply.code(503).send({ status: 'unready', reasons });
      },
    );
    done();
  };
}
