// What the benchmark and its load generator say to each other: a job, "connected", "go", and the result.

export interface LoadJob {
  /** Of a server on loopback, without a slash at the end. */
  readonly url: string;
  readonly couponId: string;
  /** Users are `<prefix>0`, `<prefix>1`, … one per request. */
  readonly userPrefix: string;
  readonly requests: number;
  /** Each sends its next request when the last one is answered. */
  readonly connections: number;
}

export interface LoadResult {
  /** How often each answer was heard: `201 claimed`, `409 sold_out`, … */
  readonly answers: Readonly<Record<string, number>>;
  /** Requests whose connection broke or whose time was over. */
  readonly unanswered: number;
  readonly durationMs: number;
  /** Of the answered requests; 0 if there are none. */
  readonly latencyMs: { readonly p50: number; readonly p99: number };
}

export type ToLoad = ({ readonly kind: 'connect' } & LoadJob) | { readonly kind: 'go' };
export type FromLoad = { readonly kind: 'connected' } | ({ readonly kind: 'done' } & LoadResult);
