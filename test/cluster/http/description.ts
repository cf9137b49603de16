// Holds every answer of a server under test to its own OpenAPI description: the status is documented for the operation, the
// media type too, and the body fits the schema and has no member that the schema does not name.
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ApiInstance } from '../../../cluster/http/api-server.js';
import { PROBLEM_TYPE } from '../../../cluster/http/problems.js';
import { ERRORS } from '../../../platform/errors.js';
import { atEndOfFile } from '../../harness/cleanup.js';

type Schema = Record<string, unknown>;
type Content = Record<string, { schema: Schema }>;
interface Description {
  paths: Record<string, Record<string, { responses: Record<string, { content?: Content }> }>>;
}

/** Before the server listens. What does not fit fails the test file at its end. */
export function holdToDescription(app: ApiInstance): void {
  const misfits = new Set<string>();
  const validators = new Map<string, ValidateFunction>();
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
  let description: Description | undefined;

  app.addHook('onSend', (request, reply, payload, done) => {
    description ??= app.swagger() as unknown as Description;
    const misfit = misfitOf(request, reply, payload);
    if (misfit !== undefined)
      misfits.add(`${request.method} ${request.url.slice(0, 80)}: ${reply.statusCode} ${misfit}`);
    done();
  });
  atEndOfFile(() => {
    if (misfits.size === 0) return Promise.resolve();
    return Promise.reject(new Error(`answers that do not fit the OpenAPI description:\n${[...misfits].join('\n')}`));
  });

  function misfitOf(request: FastifyRequest, reply: FastifyReply, payload: unknown): string | undefined {
    const { url, schema: routeSchema } = request.routeOptions;
    if ((routeSchema as { hide?: boolean } | undefined)?.hide === true && reply.statusCode < 400) return undefined;
    const [mediaType = ''] = String(reply.getHeader('content-type')).split(';');
    const path = url === undefined ? undefined : templateOf(url);
    const method = request.method === 'HEAD' ? 'get' : request.method.toLowerCase();
    const operation = path === undefined ? undefined : description?.paths[path]?.[method];
    // An address that is none, or a request that was refused before a route was asked for.
    if (operation === undefined) return problemMisfit(reply, mediaType, payload);
    const response = operation.responses[String(reply.statusCode)];
    if (response === undefined) return `the status is not documented; the body is ${String(payload)}`;
    const content = response.content?.[mediaType];
    if (content === undefined) return `the media type "${mediaType}" is not documented`;
    if (typeof payload !== 'string' || mediaType.startsWith('text/')) return undefined;
    const key = `${method} ${path ?? ''} ${reply.statusCode} ${mediaType}`;
    let validate = validators.get(key);
    if (validate === undefined) validators.set(key, (validate = ajv.compile(closed(content.schema) as Schema)));
    return validate(JSON.parse(payload)) ? undefined : `${ajv.errorsText(validate.errors)} in ${payload}`;
  }
}

function problemMisfit(reply: FastifyReply, mediaType: string, payload: unknown): string | undefined {
  if (mediaType !== PROBLEM_TYPE || typeof payload !== 'string') return `is ${mediaType}, not a problem document`;
  const { code, status } = JSON.parse(payload) as { code: string; status: number };
  const known = (ERRORS as Record<string, { status: number }>)[code];
  return known?.status === reply.statusCode && status === reply.statusCode ? undefined : `has the code ${code}`;
}

/** `/v1/coupons/:couponId/claims::batch` as OpenAPI writes it. */
function templateOf(url: string): string {
  return url.replaceAll(/(?<!:):(\w+)/g, '{$1}').replaceAll('::', ':');
}

/** A schema that also refuses members which it does not name. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return 'properties' in copy && !('additionalProperties' in copy) ? { ...copy, additionalProperties: false } : copy;
}
