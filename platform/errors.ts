// The one table of errors. Every failure a client, an operator or a log can see has a stable code here, with its
// HTTP status and a sentence for people; docs/errors.md and the OpenAPI description agree with it by test.
// Nothing here knows of Fastify, Redis or MySQL.

interface ErrorKind {
  /** HTTP status of the problem document. */
  readonly status: number;
  /** One sentence for people; a `detail` may say more about the single case. */
  readonly title: string;
  /** Seconds after which asking again is useful; sent as `Retry-After`. */
  readonly retryAfterSeconds?: number;
}

export const ERRORS = {
  // What a claim can be told by the coupon itself.
  sold_out: { status: 409, title: 'No coupon is left.' },
  not_open: { status: 409, title: 'The coupon cannot be claimed yet.' },
  paused: { status: 409, title: 'Claims are paused for this coupon.' },
  ended: { status: 410, title: 'The time to claim this coupon is over.' },
  returned: { status: 409, title: 'This user has returned the coupon and cannot claim it again.' },
  not_returnable: { status: 409, title: 'Claims of this coupon cannot be returned.' },
  unknown_coupon: { status: 404, title: 'There is no coupon with this id.' },
  not_claimed: { status: 404, title: 'This user has not claimed this coupon.' },

  // Surely not granted: asking again later is right.
  overloaded: { status: 503, title: 'Too many claims are waiting. Try again shortly.', retryAfterSeconds: 1 },
  fenced: { status: 503, title: 'This coupon is being made ready again. Try again shortly.', retryAfterSeconds: 1 },
  ledger_behind: { status: 503, title: 'Claims wait for the ledger. Try again shortly.', retryAfterSeconds: 2 },
  unavailable: { status: 503, title: 'The service cannot answer now. Try again shortly.', retryAfterSeconds: 1 },
  // May have been granted: asking again is safe and gives the receipt.
  outcome_unknown: {
    status: 503,
    title: 'The outcome is not known. Ask again: a claim that was granted gives its receipt.',
    retryAfterSeconds: 1,
  },

  rate_limited: { status: 429, title: 'Too many requests. The RateLimit header says when there may be more.' },

  // Malformed requests.
  invalid_coupon_id: { status: 400, title: 'A coupon id has 1 to 64 characters out of A-Z a-z 0-9 _ -.' },
  invalid_user_id: { status: 400, title: 'A user id has 1 to 64 bytes of UTF-8 without control characters.' },
  invalid_json: { status: 400, title: 'The body is not valid JSON.' },
  invalid_body: { status: 400, title: 'The body does not fit the schema of this request.' },
  invalid_query: { status: 400, title: 'The query does not fit the schema of this request.' },
  invalid_header: { status: 400, title: 'A header does not fit the schema of this request.' },
  invalid_window: { status: 400, title: 'The window must end after it starts.' },
  invalid_idempotency_key: {
    status: 400,
    title: 'A stock change needs an Idempotency-Key header of 1 to 64 visible ASCII characters.',
  },
  invalid_request: { status: 400, title: 'The request is malformed.' },
  not_found: { status: 404, title: 'There is nothing at this address.' },
  method_not_allowed: { status: 405, title: 'This address does not know this method.' },
  request_timeout: { status: 408, title: 'The request took too long to arrive.' },
  body_too_large: { status: 413, title: 'The body is too large.' },
  uri_too_long: { status: 414, title: 'The address is too long.' },
  unsupported_media_type: { status: 415, title: 'The body must be application/json.' },
  headers_too_large: { status: 431, title: 'The headers are too large.' },

  // Who is asking.
  unauthenticated: { status: 401, title: 'The request does not prove who is asking.' },
  forbidden: { status: 403, title: 'The request comes from somewhere that may not ask this.' },

  // Operators.
  coupon_exists: { status: 409, title: 'A coupon with this id exists with another definition.' },
  below_claimed: { status: 409, title: 'The stock cannot go below what has been claimed.' },
  stock_too_large: { status: 409, title: 'The total stock would exceed the largest stock of one coupon.' },
  idempotency_key_reused: { status: 409, title: 'This Idempotency-Key was used for another stock change.' },
  ack_unavailable: { status: 409, title: 'Redis or this version cannot keep that acknowledgement level.' },
  archived: { status: 409, title: 'The coupon ended and is archived: it cannot be changed any more.' },
  unknown_dead_letter: { status: 404, title: 'There is no dead letter with this id: it may be settled.' },
  dead_letter_refused: { status: 409, title: 'MySQL has refused this entry again.' },
  mysql_older_than_redis: {
    status: 503,
    title: 'MySQL is older than Redis: nothing is served until an operator has restored one or emptied the other.',
  },
  change_pending: { status: 503, title: 'An earlier change of this coupon is not finished.', retryAfterSeconds: 1 },

  debug_busy: {
    status: 429,
    title: 'A heap snapshot or trace of another process is being taken: one at a time.',
    retryAfterSeconds: 30,
  },

  internal: { status: 500, title: 'Something went wrong here. The request id leads to the log.' },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

/** A failure with a stable code, thrown wherever failures are rare. (Claims answer with plain codes: no stacks there.) */
export class StampedeError extends Error {
  override readonly name = 'StampedeError';
  readonly code: ErrorCode;
  /** Extra members of the problem document, e.g. `opensAt`. */
  readonly extra: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, detail?: string, extra: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(detail ?? ERRORS[code].title, { cause });
    this.code = code;
    this.extra = extra;
  }
}

/** A setting is wrong: ends the start with one line that names the variable. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

/** The message of anything thrown, for logs and for `catch (error: unknown)`. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
