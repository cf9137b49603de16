// What the proof and its load generator say to each other: an offer, and what became of it.

export interface Offer {
  /** Of the public API, without a slash at the end. */
  readonly url: string;
  readonly couponId: string;
  /** Users are `<prefix>0`, `<prefix>1`, … one per request. */
  readonly userPrefix: string;
  /** Requests sent in a second, whatever becomes of those before; undefined: each connection asks again once it is answered. */
  readonly perSecond: number | undefined;
  /** Opened as they are needed; a request that is due while all are busy is not sent. */
  readonly connectionsMax: number;
  /** Nothing is counted meanwhile. */
  readonly warmUpMs: number;
  readonly countedMs: number;
}

/** Of the counted time: answers by when they came, latencies of these answers. */
export interface Outcome {
  /** Requests sent in a second. */
  readonly sentPerSecond: number;
  /** How often each answer was heard: `201 claimed`, `503 overloaded`, … */
  readonly answers: Readonly<Record<string, number>>;
  /** Connections that broke before the answer, or that gave none in time. */
  readonly unanswered: number;
  readonly served: Answers;
  readonly refused: Answers;
}

export interface Answers {
  readonly perSecond: number;
  /** 0 where there was no answer of this kind. */
  readonly latencyMs: { readonly p50: number; readonly p99: number };
}
