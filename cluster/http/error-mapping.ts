// From whatever was thrown while a request was handled to the problem it is answered with. Knows Fastify's error codes;
// sends nothing.
import type { FastifyError, FastifySchemaValidationError } from 'fastify';
import { ERRORS, StampedeError } from '../../platform/errors.js';
import type { ErrorCode } from '../../platform/errors.js';
import type { ProblemDetails } from './problems.js';

export interface Problem extends ProblemDetails {
  readonly code: ErrorCode;
}

// What Fastify throws for malformed input, by its stable codes.
const FASTIFY_CODES: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_BAD_URL: 'invalid_request',
  FST_ERR_MAX_PARAM_LENGTH: 'uri_too_long',
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_JSON_BODY: 'invalid_json',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid_json',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_request',
};

const VALIDATION_CODES: Readonly<Record<string, ErrorCode>> = {
  body: 'invalid_body',
  querystring: 'invalid_query',
  headers: 'invalid_header',
  params: 'invalid_request',
};

/** `internal` for everything that is nobody's malformed input: the caller logs those. */
export function problemOf(error: unknown): Problem {
  if (error instanceof StampedeError) return { code: error.code, detail: detailOf(error), extra: error.extra };
  if (!(error instanceof Error)) return { code: 'internal' };
  const { code, statusCode, validation, validationContext } = error as Partial<FastifyError>;
  if (validation?.[0] !== undefined) {
    return { code: VALIDATION_CODES[validationContext ?? ''] ?? 'invalid_request', detail: sentence(validation[0]) };
  }
  const known = FASTIFY_CODES[code ?? ''];
  if (known !== undefined) return { code: known };
  // Fastify's other 4xx, e.g. a body that broke off.
  return { code: statusCode !== undefined && statusCode < 500 && statusCode >= 400 ? 'invalid_request' : 'internal' };
}

/** A StampedeError without a detail of its own carries its title as message; it need not be said twice. */
function detailOf(error: StampedeError): string | undefined {
  return error.message === ERRORS[error.code].title ? undefined : error.message;
}

/** Names the member: `total must be >= 1`, `unknown member "colour"`. */
function sentence(failure: FastifySchemaValidationError): string {
  const member = failure.instancePath.slice(1).replaceAll('/', '.');
  if (failure.keyword === 'additionalProperties') {
    return `unknown member ${JSON.stringify(failure.params['additionalProperty'])}`;
  }
  if (failure.keyword === 'enum') {
    return `${member} must be one of ${JSON.stringify(failure.params['allowedValues'])}`;
  }
  return `${member} ${failure.message ?? 'is not valid'}`.trim();
}
