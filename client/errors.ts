// The one error of the client: a stable code, and the question that matters after a claim.

export class StampedeClientError extends Error {
  override readonly name = 'StampedeClientError';
  /**
   * A code of the service (docs/errors.md), or one of the client's own: `network` (no answer came), `timeout` (none in time),
   * `not_stampede` (an answer that is not the service's, such as a gateway's).
   */
  readonly code: string;
  /** HTTP status; undefined without an answer. */
  readonly status: number | undefined;
  /** Leads to the service's log. */
  readonly requestId: string | undefined;
  /** After a claim: true when it may have been granted nevertheless. Ask again, or for the receipt, before anything else. */
  readonly mayBeGranted: boolean;

  constructor(
    code: string,
    message: string,
    more: { status?: number | undefined; requestId?: string | undefined; mayBeGranted?: boolean; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.code = code;
    this.status = more.status;
    this.requestId = more.requestId;
    this.mayBeGranted = more.mayBeGranted ?? false;
  }
}
