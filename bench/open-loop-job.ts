// What the benchmark and its open-loop generator say to each other: an offer, and what became of it.

export interface OpenLoopOffer {
  /** Of a server on loopback, without a slash at the end. */
  readonly url: string;
  readonly couponId: string;
  /** Users are `<prefix>0`, `<prefix>1`, … one per request. */
  readonly userPrefix: string;
  /** Requests that fall due in a second, evenly spaced. */
  readonly perSecond: number;
  /** Open before the clock runs. What is due while all are busy waits for one, and its latency grows meanwhile. */
  readonly connections: number;
  /** Requests that are due in this time are sent and not counted. */
  readonly warmUpMs: number;
  readonly countedMs: number;
}

/** Of the requests that were due in the counted time, whenever they were answered. */
export interface OpenLoopOutcome {
  readonly due: number;
  /** How often each answer was heard: `201 claimed`, `503 overloaded`, … */
  readonly answers: Readonly<Record<string, number>>;
  /** Requests whose connection broke, whose time was over, or that found no connection before the generator gave up. */
  readonly unanswered: number;
  /** Answers 201, from the moment a request was due to the end of its answer. 0 where there was none. */
  readonly acceptedMs: Percentiles;
  /** From the moment a request was due to the moment the generator came to it: its own fault, not the server's. */
  readonly lagMs: Percentiles;
}

export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
}
