// Problem documents (RFC 9457): the one place where a code becomes an answer, on a Fastify reply or on a bare socket.
// Bare codes are prepared once: in a stampede most answers are the same `sold_out`.
import { STATUS_CODES } from 'node:http';
import { Type } from 'typebox';
import type { TSchema } from 'typebox';
import { ERRORS } from '../../platform/errors.js';
import type { ErrorCode } from '../../platform/errors.js';

export const PROBLEM_TYPE = 'application/problem+json';
const PROBLEM_HEADER = `${PROBLEM_TYPE}; charset=utf-8`;

/** The `type` member: stable, and not an address, because the service does not know its public name. */
export function problemType(code: ErrorCode): string {
  return `urn:stampede:error:${code}`;
}

export interface ProblemDetails {
  /** What there is to say about this one case. */
  readonly detail?: string | undefined;
  /** Further members, e.g. `opensAt`. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

/** As much of a Fastify reply as an answer needs; typed replies of any route fit it. */
export interface ProblemReply {
  readonly request: { readonly id: string };
  statusCode: number;
  header(key: string, value: string): unknown;
  send: unknown;
}

/** Answers with the problem document of `code`, its status and, where the table has one, `Retry-After`. */
export function sendProblem(reply: ProblemReply, code: ErrorCode, details?: ProblemDetails): void {
  const { status, body, retryAfter } = PREPARED[code];
  reply.statusCode = status;
  reply.header('content-type', PROBLEM_HEADER);
  if (retryAfter !== undefined) reply.header('retry-after', retryAfter);
  // The types of a route know its 2xx bodies only; a problem document is a finished string on every route.
  const { send } = reply as { send: (this: ProblemReply, body: string) => unknown };
  if (details === undefined && status < 500) send.call(reply, body);
  else send.call(reply, problemBody(code, details, status < 500 ? undefined : reply.request.id));
}

/** A complete HTTP/1.1 response for a connection whose request could not be read. It announces the close of the connection. */
export function rawProblem(code: ErrorCode, detail?: string): string {
  const { status } = PREPARED[code];
  const body = problemBody(code, { detail }, undefined);
  return (
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n` +
    `Content-Type: ${PROBLEM_HEADER}\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n` +
    `Connection: close\r\n\r\n${body}`
  );
}

/** The document as text. `requestId` leads from a 5xx to the log. */
function problemBody(code: ErrorCode, details: ProblemDetails | undefined, requestId: string | undefined): string {
  const { title, status } = ERRORS[code];
  return JSON.stringify({
    type: problemType(code),
    title,
    status,
    detail: details?.detail,
    code,
    ...details?.extra,
    requestId,
  });
}

interface Prepared {
  readonly status: number;
  readonly body: string;
  readonly retryAfter: string | undefined;
}

const PREPARED = Object.fromEntries(
  (Object.keys(ERRORS) as ErrorCode[]).map((code) => [code, prepare(code)]),
) as unknown as Readonly<Record<ErrorCode, Prepared>>;

function prepare(code: ErrorCode): Prepared {
  const kind: { status: number; retryAfterSeconds?: number } = ERRORS[code];
  return {
    status: kind.status,
    body: problemBody(code, undefined, undefined),
    retryAfter: kind.retryAfterSeconds?.toString(),
  };
}

/** The responses of an OpenAPI operation for the problems it can answer with, one per status. */
export function problemResponses(codes: readonly ErrorCode[]): Record<string, unknown> {
  const statuses = [...new Set(codes.map((code) => ERRORS[code].status))].sort((a, b) => a - b);
  return Object.fromEntries(
    statuses.map((status) => {
      const ofStatus = codes.filter((code) => ERRORS[code].status === status);
      return [
        String(status),
        {
          description: ofStatus.map((code) => `\`${code}\`: ${ERRORS[code].title}`).join('\n\n'),
          content: { [PROBLEM_TYPE]: { schema: problemSchema(ofStatus) } },
        },
      ];
    }),
  );
}

function problemSchema(codes: readonly ErrorCode[]): TSchema {
  return Type.Object({
    type: Type.String({ description: 'urn:stampede:error:<code>' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.Optional(Type.String()),
    code: Type.Unsafe<ErrorCode>({ type: 'string', enum: codes }),
    requestId: Type.Optional(Type.String({ description: 'With 5xx: the id that leads to the log.' })),
    ...(codes.includes('returned') && {
      returnedAt: Type.Optional(Type.String({ format: 'date-time', description: 'With returned.' })),
    }),
    ...(codes.includes('not_open') && {
      opensAt: Type.Optional(Type.String({ format: 'date-time', description: 'With not_open.' })),
    }),
  });
}
