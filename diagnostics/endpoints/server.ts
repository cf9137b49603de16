// The HTTP server of the diagnostics thread: node:http on a Unix socket, a table of endpoints, errors as text or JSON.
// It bounds what a client may hold: connections, time, request size.
import { chmodSync, lstatSync, renameSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Busy } from '../agent/heavy-gate.js';
import { MainThreadInNativeCode } from '../agent/inspector-session.js';
import { MainThreadBlocked } from '../agent/main-link.js';
import { DebugError, json, text } from './debug-request.js';
import type { AgentParts, DebugRequest, Endpoint, Reply } from './debug-request.js';
import { ROUTES } from './routes.js';

const SOCKET_MODE = 0o600;
const CONNECTIONS_MAX = 64;
const HEADERS_TIMEOUT_MS = 5_000;
const KEEP_ALIVE_TIMEOUT_MS = 5_000;
const BLOCKED_RETRY_AFTER_SECONDS = 5;
/** Set by the admin port (`proxyDebug`): where the client sees this agent's `/debug`. */
export const PREFIX_HEADER = 'x-stampede-debug-prefix';
const PREFIX_PATTERN = /^(?:\/[\w.-]+)+$/;

export class DebugServer {
  readonly #agent: AgentParts;
  readonly #stopping = new AbortController();
  readonly #server: Server;

  constructor(agent: AgentParts) {
    this.#agent = agent;
    this.#server = createServer(
      {
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: HEADERS_TIMEOUT_MS,
        keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      },
      (request, response) => {
        this.#serve(request, response).catch(() => response.destroy());
      },
    );
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /**
   * Listens under a name of its own and then takes `socketPath`, in one step: the socket is never there with a looser mode
   * (a thread cannot set the umask), whoever had the name before loses it without a gap, and libuv, which unlinks what it
   * has bound when it closes, does not unlink a successor's. Gives the socket's inode.
   */
  async listen(socketPath: string): Promise<number> {
    const bound = path.join(path.dirname(socketPath), `.${process.pid}`);
    rmSync(bound, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(bound, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    chmodSync(bound, SOCKET_MODE);
    renameSync(bound, socketPath);
    return lstatSync(socketPath).ino;
  }

  /** Ends running operations and waits until the socket is gone. */
  async close(): Promise<void> {
    this.#stopping.abort();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const stop = (): void => gone.abort();
    this.#stopping.signal.addEventListener('abort', stop);
    request.resume();
    try {
      await send(response, await this.#reply(request, gone.signal));
    } finally {
      this.#stopping.signal.removeEventListener('abort', stop);
    }
  }

  async #reply(request: IncomingMessage, gone: AbortSignal): Promise<Reply> {
    const { headers, method = 'GET', url = '/' } = request;
    const { pathname, searchParams: query } = new URL(url, 'http://debug');
    const prefix = headers[PREFIX_HEADER];
    const debugRequest: DebugRequest = {
      query,
      accept: headers.accept ?? '',
      gone,
      prefix: typeof prefix === 'string' && PREFIX_PATTERN.test(prefix) ? prefix : '/debug',
    };
    try {
      return await endpointFor(pathname, method)(debugRequest, this.#agent);
    } catch (error) {
      return failure(error, debugRequest);
    }
  }
}

function endpointFor(pathname: string, method: string): Endpoint {
  const page = pathname.replace(/\/+$/, '');
  const route = ROUTES.get(page);
  if (route === undefined) {
    throw new DebugError(404, 'not_found', `there is nothing at ${pathname}: /debug lists what there is`);
  }
  // HEAD would take a whole profile to say how long it is.
  if (method !== route.method) {
    throw new DebugError(405, 'method_not_allowed', `${page} wants ${route.method}`, { allow: route.method });
  }
  return route.endpoint;
}

function failure(error: unknown, request: DebugRequest): Reply {
  const known = asDebugError(error);
  const body = request.accept.includes('application/json') || request.query.get('format') === 'json';
  const reply = body ? json({ code: known.code, detail: known.message }) : text(`${known.code}: ${known.message}`);
  return { ...reply, status: known.status, headers: known.headers };
}

function asDebugError(error: unknown): DebugError {
  if (error instanceof DebugError) return error;
  if (error instanceof Busy) {
    return new DebugError(429, 'busy', error.message, { 'retry-after': String(error.retryAfterSeconds) });
  }
  if (error instanceof MainThreadBlocked || error instanceof MainThreadInNativeCode) {
    return new DebugError(503, 'main_thread_blocked', error.message, {
      'retry-after': String(BLOCKED_RETRY_AFTER_SECONDS),
    });
  }
  return new DebugError(500, 'internal', error instanceof Error ? error.message : String(error));
}

async function send(response: ServerResponse, { status = 200, type, body, headers = {} }: Reply): Promise<void> {
  response.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  });
  if (body instanceof Readable) await pipeline(body, response);
  else response.end(body);
}
