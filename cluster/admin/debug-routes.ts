// `/debug` on the admin port: the index over all processes, and each process's own pages below its name. Asks the agents
// on their sockets; never touches a process otherwise. What the pages say is the business of diagnostics/.
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { Busy, HeavyGate } from '../../diagnostics/agent/heavy-gate.js';
import { htmlReply } from '../../diagnostics/endpoints/html/document.js';
import { listDebugSockets, proxyDebug } from '../../diagnostics/endpoints/proxy.js';
import { gather, workerEntry } from '../../diagnostics/gather/gather.js';
import type { WatchedProcess, WorkerEntry } from '../../diagnostics/gather/gather.js';
import { gatheredPage, PAGE_SITES } from '../../diagnostics/gather/page.js';
import { gatheredText } from '../../diagnostics/gather/text.js';
import { StampedeError } from '../../platform/errors.js';
import type { ClusterLink, ProcessStatus } from '../actor.js';

const PREFIX = '/debug';
/** Names of Go's net/http/pprof, which has one process only: here `?worker=` names it. */
const GO_PREFIX = '/debug/pprof';

/** Of one of them; those refused meanwhile are told by the table of errors when to come again. */
const HEAVY_EXPECTED_MS = 30_000;

const Workers = Type.Object({
  workers: Type.Array(Type.Unsafe<WorkerEntry>({ type: 'object', additionalProperties: true })),
});

export interface DebugRoutesOptions {
  /** Where the agents have their sockets. */
  readonly socketFolder: string;
  readonly cluster: ClusterLink;
}

export function debugRoutes({ socketFolder, cluster }: DebugRoutesOptions): FastifyPluginCallbackTypebox {
  const heavy = new HeavyGate();
  return (app, _options, done) => {
    // `POST …/trace` has no body; whatever tool sends one is not refused for its type.
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, parsed) => {
      parsed(null, undefined);
    });

    app.get(
      `${PREFIX}/workers`,
      {
        config: { problems: ['unauthenticated', 'forbidden'] },
        schema: {
          summary: 'Vital signs, live async resources and verdict of every process',
          description: 'Sizes are bytes, shares 0 to 1. A process that does not answer has a `problem` instead.',
          tags: ['diagnostics'],
          response: { 200: Workers },
        },
      },
      async () => ({ workers: (await gather(await watched())).map(workerEntry) }),
    );

    for (const path of [PREFIX, `${PREFIX}/`, GO_PREFIX, `${GO_PREFIX}/`]) {
      app.get(path, { schema: { hide: true } }, async (request, reply) => sendIndex(request, reply));
    }

    for (const path of [`${PREFIX}/workers/:name`, `${PREFIX}/workers/:name/*`]) {
      app.route({
        method: ['GET', 'POST'],
        url: path,
        schema: { hide: true },
        handler: async (request, reply) => {
          const { name } = request.params as { name: string };
          const prefix = `${PREFIX}/workers/${name}`;
          // As it was sent: the agent decodes for itself.
          await pass(name, PREFIX + request.originalUrl.slice(prefix.length), request, reply);
        },
      });
    }

    app.get(`${GO_PREFIX}/*`, { schema: { hide: true } }, async (request, reply) => {
      const { worker } = request.query as { worker?: unknown };
      if (typeof worker !== 'string') {
        const names = (await listDebugSockets(socketFolder)).map(({ name }) => name);
        throw new StampedeError('invalid_query', `Which process? Add ?worker= with one of ${names.join(', ')}.`);
      }
      await pass(worker, request.originalUrl, request, reply);
    });
    done();
  };

  /** The primary's list; where it does not answer, whatever has a socket. */
  async function watched(): Promise<WatchedProcess[]> {
    const [sockets, statuses] = await Promise.all([
      listDebugSockets(socketFolder),
      cluster.processes().catch((): ProcessStatus[] => []),
    ]);
    const socketOf = (name: string): string | undefined => sockets.find((socket) => socket.name === name)?.socketPath;
    if (statuses.length === 0) {
      return sockets.map(({ name, socketPath }) => ({ name, role: 'unknown', pid: 0, state: 'unknown', socketPath }));
    }
    // While a place is handed over it has two processes and one socket, the newer one's.
    const current = statuses.filter(
      ({ name, state }) =>
        state !== 'draining' || !statuses.some((other) => other.name === name && other.state !== state),
    );
    return current.map(({ name, role, pid, state }) => ({ name, role, pid, state, socketPath: socketOf(name) }));
  }

  async function sendIndex(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const query = request.query as { format?: unknown; refresh?: unknown };
    const wantsPage = query.format === 'html' || (query.format === undefined && accepts(request, 'text/html'));
    const gathered = await gather(await watched(), wantsPage ? PAGE_SITES : 0);
    if (wantsPage) {
      const options = { title: 'Stampede', prefix: PREFIX, refreshes: query.refresh !== undefined };
      const { type, body, headers } = htmlReply(gatheredPage(gathered, options));
      return reply
        .headers({ ...headers, 'cache-control': 'no-store' })
        .type(type)
        .send(body);
    }
    if (query.format === 'json' || accepts(request, 'application/json')) {
      return reply.send({ workers: gathered.map(workerEntry) });
    }
    const links = [
      `${PREFIX}/workers                 the same as JSON`,
      ...gathered.map(({ name }) => `${PREFIX}/workers/${name}`.padEnd(31) + 'its own index: leaks, stack, profile, …'),
    ];
    return reply.type('text/plain; charset=utf-8').send(`${gatheredText(gathered, links)}\n`);
  }

  /** @throws StampedeError `debug_busy` while a heavy operation runs in any process. */
  function enter(): () => void {
    try {
      return heavy.enter('a snapshot or trace of a process', HEAVY_EXPECTED_MS);
    } catch (error) {
      throw error instanceof Busy ? new StampedeError('debug_busy') : error;
    }
  }

  async function pass(name: string, target: string, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const sockets = await listDebugSockets(socketFolder);
    const socket = sockets.find((each) => each.name === name);
    if (socket === undefined) {
      throw new StampedeError(
        'not_found',
        `No process is called so. There are ${sockets.map((each) => each.name).join(', ')}.`,
      );
    }
    const leave = isHeavy(target) ? enter() : (): void => undefined;
    reply.raw.once('close', leave);
    reply.hijack();
    for (const [header, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(header, value);
    }
    await proxyDebug(socket.socketPath, request.raw, reply.raw, { target, prefix: `${PREFIX}/workers/${name}` });
  }
}

/** What stops a process or makes it many times slower: not in two of them at once. CPU and heap profiles cost little. */
function isHeavy(target: string): boolean {
  return /^\/debug\/(?:heap\/snapshot|trace)\/?(?:\?|$)/.test(target);
}

function accepts(request: FastifyRequest, type: string): boolean {
  return request.headers.accept?.includes(type) === true;
}
