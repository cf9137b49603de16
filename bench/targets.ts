// What the service is held to, each as a figure that one part of the benchmark finds. All are ratios within one run, or
// counts, so that they mean the same on another machine; the times hold for the machine of docs/performance.md.

export interface Target {
  /** Name of the part that finds it. */
  readonly part: string;
  /** Exactly what is judged: where that is narrower than one would think, in so many words. */
  readonly what: string;
  readonly unit: string;
  /** The median has to be at most, or at least, this. */
  readonly atMost?: number;
  readonly atLeast?: number;
}

export const TARGETS = {
  cpuAgainstFloor: {
    part: 'generator',
    what: 'server CPU per claim, everything on, against the empty route, both under wrk',
    unit: '×',
    atMost: 1.15,
  },
  cpuBareAgainstFloor: {
    part: 'switches',
    what: 'server CPU per claim, diagnostics and metrics off, against the empty route',
    unit: '×',
    atMost: 1.05,
  },
  redisCpuAgainstUsual: { part: 'peers', what: 'Redis CPU per claim against the usual design', unit: '×', atMost: 0.1 },
  throughputAgainstUsual: {
    part: 'peers',
    what: 'claims per second against the usual design, rows in MySQL included',
    unit: '×',
    atLeast: 3.5,
  },
  soldOutAgainstFloor: {
    part: 'generator',
    what: 'server CPU per sold-out answer against the empty route, both under wrk',
    unit: '×',
    atMost: 1.15,
  },
  soldOutRedisCpu: { part: 'peers', what: 'Redis CPU per sold-out answer', unit: 'µs', atMost: 2 },
  drainAgainstMysql: {
    part: 'drain',
    what: 'ledger rows per second while draining, against multi-row inserts alone',
    unit: '×',
    atLeast: 0.85,
  },
  batchAgainstSingle: {
    part: 'batch',
    what: 'claims per CPU second of an http worker (not by the clock), in batches of 1,000 against single claims',
    unit: '×',
    atLeast: 5,
  },
  p99AtHalf: {
    part: 'latency',
    what: 'p99 of accepted claims at half of the peak, which is the rate with rows in MySQL included',
    unit: 'ms',
    atMost: 10,
  },
  p99LedgerOverRedis: {
    part: 'latency',
    what: 'p99 at the peak in a closed loop (ask again when answered): level ledger over level redis',
    unit: 'ms',
    atMost: 60,
  },
  burstErrors: { part: 'burst', what: 'worst burst of 20,000 connections: errors', unit: '', atMost: 0 },
  burstWinnersOff: {
    part: 'burst',
    what: 'worst burst of 20,000 connections: winners beyond or short of 10,000',
    unit: '',
    atMost: 0,
  },
  burstRows: {
    part: 'burst',
    what: 'worst burst of 20,000 connections: all rows in MySQL after the last answer',
    unit: 's',
    atMost: 5,
  },
  memoryPerUser: {
    part: 'memory',
    what: 'Redis memory per claimed user, 1 M users with ids of 20 bytes',
    unit: 'bytes',
    atMost: 100,
  },
  memoryArchived: {
    part: 'memory',
    what: 'Redis memory per claimed user after archiving, rounded to whole bytes',
    unit: 'bytes',
    atMost: 0,
  },
  workerMemory: {
    part: 'worker-memory',
    what: 'resident memory of an http worker after 10 M claims, 95 % of them in batches, against 1 M',
    unit: '×',
    atMost: 1.05,
  },
  growthUsers: {
    part: 'growth',
    what: 'CPU of http worker and Redis per claim at 10 M claimed users, against 10 k',
    unit: '×',
    atMost: 1.15,
  },
  growthUsersWritten: {
    part: 'growth',
    what: 'CPU of http worker, Redis, ledger and MariaDB per claim at 10 M claimed users, against 10 k',
    unit: '×',
    atMost: 1.15,
  },
  growthCoupons: {
    part: 'growth',
    what: 'CPU of http worker and Redis per claim at 10,000 coupons, against 1',
    unit: '×',
    atMost: 1.15,
  },
  growthCouponsWritten: {
    part: 'growth',
    what: 'CPU of http worker, Redis, ledger and MariaDB per claim at 10,000 coupons, against 1',
    unit: '×',
    atMost: 1.15,
  },
} as const satisfies Record<string, Target>;

export type TargetName = keyof typeof TARGETS;
