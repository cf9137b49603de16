// Every limit of an HTTP listener, in one place, for the public and the admin API alike. Tests pass shorter ones.

export interface HttpLimits {
  /** Longest body. A claim needs none; the largest admin body is a stock change with its reason. */
  readonly bodyBytesMax: number;
  /** Request line and headers together, Node's own default; more is answered 431. */
  readonly headerBytesMax: number;
  /** Longest request target. The longest real one is a coupon id, a percent-encoded user id and a query. */
  readonly urlLengthMax: number;
  /**
   * From the connection or the last answer's successor byte to the end of the headers. Longer than a process may be late itself: when
   * ten thousand connections come to a worker that has just started, it reads the last of them seconds after they have spoken (of
   * 20,000 on two slow cores, 111 with 10 s were told that they had been too slow).
   */
  readonly headersTimeoutMs: number;
  /** From the first byte to the end of the body. */
  readonly requestTimeoutMs: number;
  /** How often Node looks for requests beyond the two limits above. */
  readonly timeoutCheckMs: number;
  /**
   * How long an idle connection stays open, announced in the `Keep-Alive` header. A gateway must let go of idle
   * connections sooner than this. It also bounds how long idle clients can hold up a drain.
   */
  readonly keepAliveTimeoutMs: number;
  /** A connection on which nothing moves for this long while an answer is due or not being read is cut. */
  readonly inactivityTimeoutMs: number;
  /** How long bytes of a refused request are read and thrown away, so that the answer is not lost in a reset. */
  readonly lingerMs: number;
  /** Open connections of one process; further ones are closed at once. Each costs about 10 KiB. */
  readonly connectionsMax: number;
}

export const HTTP_LIMITS: HttpLimits = {
  bodyBytesMax: 16 * 1024,
  headerBytesMax: 16 * 1024,
  urlLengthMax: 4 * 1024,
  headersTimeoutMs: 30_000,
  requestTimeoutMs: 45_000,
  timeoutCheckMs: 1_000,
  keepAliveTimeoutMs: 5_000,
  inactivityTimeoutMs: 60_000,
  lingerMs: 2_000,
  connectionsMax: 20_000,
};

/** An audit over millions of claims is silent for minutes before it answers. */
export const ADMIN_LIMITS: HttpLimits = { ...HTTP_LIMITS, inactivityTimeoutMs: 600_000 };
