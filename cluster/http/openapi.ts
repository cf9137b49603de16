// `GET /openapi.json`: OpenAPI 3.1, made from the routes' own schemas. A route names the problems it can answer with once,
// in `config.problems`; the document gets a response per status from the table of errors.
import swagger from '@fastify/swagger';
import type { FastifySchema } from 'fastify';
import type { ErrorCode } from '../../platform/errors.js';
import type { ApiInstance } from './api-server.js';
import { problemResponses } from './problems.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Codes that this route can answer with, beyond those of every route. */
    problems?: readonly ErrorCode[];
  }
}

export interface ApiDescription {
  readonly title: string;
  readonly description: string;
  /** Name to scheme, as OpenAPI has them; each is asked for by every operation that does not say otherwise. */
  readonly securitySchemes: Readonly<Record<string, SecurityScheme>>;
  /** What whoever is not admitted is told, by every operation that asks for a proof. */
  readonly admissionProblems?: readonly ErrorCode[];
}

type SecurityScheme =
  | { type: 'http'; scheme: 'bearer'; description: string }
  | { type: 'apiKey'; in: 'header'; name: string; description: string };

/** What any request can meet before it reaches a route. */
const EVERYWHERE: readonly ErrorCode[] = ['invalid_request', 'uri_too_long', 'internal'];

export function registerOpenApi(app: ApiInstance, description: ApiDescription): void {
  app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: description.title, description: description.description, version: '1' },
      // All of them together, where an operation does not say otherwise.
      security: [Object.fromEntries(Object.keys(description.securitySchemes).map((name) => [name, []]))],
      components: { securitySchemes: { ...description.securitySchemes } },
    },
    transform: ({ schema, url, route }) => ({
      url,
      schema: withProblems(schema as FastifySchema | undefined, [
        ...(route.config?.problems ?? []),
        ...((schema as FastifySchema | undefined)?.security === undefined ? (description.admissionProblems ?? []) : []),
      ]),
    }),
  });
  app.register((instance, _options, done) => {
    instance.get('/openapi.json', { schema: { hide: true } }, (_request, reply) => reply.send(instance.swagger()));
    done();
  });
}

function withProblems(schema: FastifySchema | undefined, codes: readonly ErrorCode[]): FastifySchema {
  const responses = (schema?.response ?? {}) as Record<string, unknown>;
  return { ...schema, response: { ...problemResponses([...new Set([...codes, ...EVERYWHERE])]), ...responses } };
}
