// What the benchmark and its load generator say to each other: a job, "connected", "go", and the result.

export interface LoadJob {
  /** Of a server on loopback, without a slash at the end. */
  readonly url: string;
  readonly couponId: string;
  /** More than one: claims go in turn to `<couponId>-0`, `<couponId>-1`, … Default: all to `couponId`. */
  readonly coupons?: number;
  /** How single claims say who asks. Default: the header X-User-Id alone. */
  readonly identity?: { readonly gatewayToken: string } | { readonly jwtSecret: string } | undefined;
  /** Users are `<prefix>0`, `<prefix>1`, … each claims once. */
  readonly userPrefix: string;
  /** Number of the first user, where it is not 0. */
  readonly firstUser?: number;
  /** Claims; as many requests, unless they go in batches. */
  readonly requests: number;
  /** Claims of one request to the batch endpoint. Default: a request for each claim. */
  readonly batch?: number;
  /** Each sends its next request when the last one is answered. */
  readonly connections: number;
}

export interface LoadResult {
  /** How often each answer was heard: `201 claimed`, `409 sold_out`, … Of a batch every claim counts: `200 claimed`, … */
  readonly answers: Readonly<Record<string, number>>;
  /** Claims whose connection broke or whose time was over. */
  readonly unanswered: number;
  /** Why: how many requests failed with which code of Node or undici. */
  readonly failures: Readonly<Record<string, number>>;
  readonly durationMs: number;
  /** Of the answered requests; 0 if there are none. */
  readonly latencyMs: { readonly p50: number; readonly p99: number };
}

/** Where a load comes from: the benchmark's own generator, or another one. */
export interface LoadSource {
  /** Resolves when no request is under way. */
  connect(job: LoadJob): Promise<void>;
  /** Does the job that it has connected for. */
  go(): Promise<LoadResult>;
}

export type ToLoad = ({ readonly kind: 'connect' } & LoadJob) | { readonly kind: 'go' };
export type FromLoad = { readonly kind: 'connected' } | ({ readonly kind: 'done' } & LoadResult);
