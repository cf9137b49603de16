// A Fastify server with everything that the public and the admin API have in common: limits, request ids, problem
// documents for whatever goes wrong, health, OpenAPI. Knows no route of either API, no Redis and no MySQL.
import { isUtf8 } from 'node:buffer';
import fastify from 'fastify';
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { StampedeError } from '../../platform/errors.js';
import type { Log } from '../../platform/log.js';
import { answerClientErrors, refuseConnect } from './client-errors.js';
import { problemOf } from './error-mapping.js';
import { healthRoutes } from './health.js';
import type { HttpLimits } from './limits.js';
import { registerOpenApi } from './openapi.js';
import type { ApiDescription } from './openapi.js';
import { sendProblem } from './problems.js';
import { createRequestIds } from './request-id.js';
import { SECURITY_HEADERS } from './security-headers.js';

export type ApiInstance = FastifyInstance<
  Server,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

export interface ApiServerOptions {
  readonly log: Log;
  readonly limits: HttpLimits;
  readonly description: ApiDescription;
  readonly unreadyReasons: () => string[];
  /** Of every answer; a route may replace them. Default: those of an API. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whose X-Forwarded-For is believed when a route asks for `request.ip`. Default: nobody's. */
  readonly trustedProxies?: readonly string[];
  /**
   * Runs before anything else, also for addresses that do not exist: false when it has answered the request itself.
   */
  readonly admit?: (request: FastifyRequest, reply: FastifyReply) => boolean;
}

export interface ApiServer {
  /** Routes are added as plugins before it listens, so that the OpenAPI document sees them. */
  readonly app: ApiInstance;
  /** From now on every answer asks its client to close the connection, and `/readyz` says so. */
  beginDrain(): void;
  /** Undoes `beginDrain`, where the process goes on after all. */
  endDrain(): void;
}

const JSON_BODY = /^application\/(?:[\w.+-]+\+)?json(?:;|$)/;

export function createApiServer(options: ApiServerOptions): ApiServer {
  const { log, limits, headers = SECURITY_HEADERS, trustedProxies = [] } = options;
  let draining = false;

  const app = fastify({
    // No line per request. Errors are logged below, with the request id.
    logger: false,
    genReqId: createRequestIds(),
    bodyLimit: limits.bodyBytesMax,
    connectionTimeout: limits.inactivityTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    maxRequestsPerSocket: 0,
    trustProxy: trustedProxies.length === 0 ? false : [...trustedProxies],
    // Ids that are too long shall be told so by the route, not vanish as 404.
    routerOptions: { maxParamLength: limits.urlLengthMax },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
    http: {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.headersTimeoutMs,
      connectionsCheckingInterval: limits.timeoutCheckMs,
      // Node's own refusal has no body; `begin` checks instead.
      requireHostHeader: false,
    },
    clientErrorHandler: answerClientErrors(limits.lingerMs),
    frameworkErrors: (error, request, reply) => {
      if (begin(request, reply)) answerError(error, request, reply);
    },
  }).withTypeProvider<TypeBoxTypeProvider>();

  app.server.maxConnections = limits.connectionsMax;
  app.server.on('connect', refuseConnect(limits.lingerMs));
  // An expectation nobody knows may be ignored; Node's refusal has no body.
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    app.server.emit('request', request, response);
  });

  const methods = new Set<HTTPMethods>();
  app.addHook('onRoute', (route) => {
    for (const method of [route.method].flat()) methods.add(method);
  });

  /** False when the request has been answered already. */
  function begin(request: FastifyRequest, reply: FastifyReply): boolean {
    reply.headers(headers).header('x-request-id', request.id);
    if (draining) reply.header('connection', 'close');
    const { raw } = request;
    if (raw.headers.host === undefined && raw.httpVersion === '1.1') {
      sendProblem(reply, 'invalid_request', { detail: 'The Host header is missing.' });
      return false;
    }
    if (request.originalUrl.length > limits.urlLengthMax) {
      sendProblem(reply, 'uri_too_long', { detail: `At most ${limits.urlLengthMax} characters.` });
      return false;
    }
    return options.admit?.(request, reply) ?? true;
  }

  app.addHook('onRequest', (request, reply, done) => {
    if (!begin(request, reply)) return;
    // Answered here, before anybody reads a body that nobody wants.
    if (request.is404) answerUnknown(request, reply);
    else done();
  });

  function answerUnknown(request: FastifyRequest, reply: FastifyReply): void {
    const url = request.originalUrl;
    // Null for no route, whatever its type says.
    const allowed = [...methods].filter((method) => (app.findRoute({ method, url }) as object | null) !== null);
    if (allowed.length === 0) {
      sendProblem(reply, 'not_found');
    } else {
      reply.header('allow', allowed.sort().join(', '));
      sendProblem(reply, 'method_not_allowed');
    }
  }

  function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const { code, ...details } = problemOf(error);
    if (code === 'internal') {
      log.error({ err: error, requestId: request.id, method: request.method, url: request.url }, 'request failed');
    }
    if (code === 'body_too_large') {
      // An answer now would close the connection under a client that is still sending, and the reset would swallow it.
      whenRead(request.raw, limits.lingerMs, () => {
        sendProblem(reply, code, details);
      });
      return;
    }
    sendProblem(reply, code, details);
  }

  app.setErrorHandler(answerError);
  app.setNotFoundHandler(answerUnknown);

  acceptJsonObjects(app);
  registerOpenApi(app, options.description);
  app.register(healthRoutes(() => (draining ? ['draining'] : options.unreadyReasons()), options.admit === undefined));

  return {
    app,
    beginDrain: () => {
      draining = true;
    },
    endDrain: () => {
      draining = false;
    },
  };
}

/** Throws the rest of a body away, and calls back at its end, or after `limitMs`. */
function whenRead(request: IncomingMessage, limitMs: number, callback: () => void): void {
  const timer = setTimeout(done, limitMs);
  request.once('end', done).once('close', done).resume();

  function done(): void {
    clearTimeout(timer);
    request.off('end', done).off('close', done);
    callback();
  }
}

/** JSON bodies must be valid UTF-8 and an object. No body is no error here: routes that need one say so. */
function acceptJsonObjects(app: ApiInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(JSON_BODY, { parseAs: 'buffer' }, (_request, body: Buffer, done) => {
    let value: object | undefined;
    try {
      value = body.length === 0 ? undefined : parseObject(body);
    } catch (error) {
      done(error as StampedeError);
      return;
    }
    done(null, value);
  });
}

function parseObject(body: Buffer): object {
  if (!isUtf8(body)) throw new StampedeError('invalid_json', 'The body is not valid UTF-8.');
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch (error) {
    throw new StampedeError('invalid_json', undefined, {}, error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new StampedeError('invalid_body', 'The body must be a JSON object.');
  }
  return value;
}
