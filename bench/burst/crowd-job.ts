// What the part and a crowd say to each other: a job, "ready", "go", and what was heard.

export interface CrowdJob {
  /** Of the service, on loopback. */
  readonly port: number;
  readonly couponId: string;
  /** Users are `<prefix><first>`, `<prefix><first + 1>`, … with a connection each. */
  readonly userPrefix: string;
  readonly firstUser: number;
  readonly users: number;
  /** Loopback address that they come from. */
  readonly from: string;
}

export interface Heard {
  /** `201 claimed`, `409 sold_out`, …, or the code of Node where the connection failed. */
  readonly answers: Readonly<Record<string, number>>;
  /** Epoch milliseconds of the last answer. */
  readonly endedAt: number;
  /** Of every answer, from the moment at which all came, in ascending order. */
  readonly latenciesMs: readonly number[];
}

export type ToCrowd = ({ readonly kind: 'job' } & CrowdJob) | { readonly kind: 'go' };
export type FromCrowd = { readonly kind: 'ready' } | ({ readonly kind: 'heard' } & Heard);
