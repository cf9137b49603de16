// The id of a request: in the `X-Request-Id` of every answer, in 5xx problem documents and in the log.
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** What a caller may choose itself: short, and harmless in logs, headers and JSON without any escaping. */
const ACCEPTABLE = /^[A-Za-z0-9._-]{1,64}$/;

/** Ids unique over processes and restarts, at the price of a counter. An acceptable one of the caller is kept. */
export function createRequestIds(): (request: IncomingMessage) => string {
  const prefix = randomBytes(6).toString('base64url');
  let count = 0;
  return (request) => {
    const given = request.headers['x-request-id'];
    if (typeof given === 'string' && ACCEPTABLE.test(given)) return given;
    return `${prefix}-${(++count).toString(36)}`;
  };
}
