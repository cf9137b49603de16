// One load of claims on a server, with what it has cost until the last row was written: CPU time of every kind of process for each
// claim. Knows no design.
import type { Counters } from './databases.js';
import { complaintsOf } from './load-generator.js';
import type { LoadJob, LoadResult, LoadSource } from './load-job.js';
import type { CpuMicros, Pids } from './service-cpu.js';
import { cpuMicrosByKind, cpuMicrosPer } from './service-cpu.js';

/** What is measured: the service or a peer. */
export interface Measured {
  readonly url: string;
  readonly pids: Pids;
  /** µs that its Redis has used since its start: finer than what /proc says of its process. */
  redisCpuMicros?(): Promise<number>;
  /** What its databases have counted since their start. */
  counters?(): Promise<Counters>;
  /** Resolves when every claim that was granted is a row in MySQL. */
  whenWritten?(): Promise<void>;
}

export interface MeasuredLoad {
  /** Until all rows are written: only then has a claim cost all that it costs. */
  readonly cpuMicrosPerClaim: CpuMicros;
  /** Until the last answer. */
  readonly claimsPerSecond: number;
  /** Until the last row is in MySQL. */
  readonly writtenPerSecond: number;
  /** Meanwhile. What ledger and jobs do besides counts, too. */
  readonly counted?: Counters;
  readonly load: LoadResult;
}

/** Waits for the ledger before and after. Nobody else may use the server meanwhile. */
export async function measureLoad(
  measured: Measured,
  generator: LoadSource,
  job: Omit<LoadJob, 'url'>,
): Promise<MeasuredLoad> {
  await measured.whenWritten?.();
  await generator.connect({ ...job, url: measured.url });
  const countedBefore = await measured.counters?.();
  const before = await readCpu(measured);
  const startedAt = performance.now();
  const load = await generator.go();
  await measured.whenWritten?.();
  const writtenMs = performance.now() - startedAt;
  const after = await readCpu(measured);
  const countedAfter = await measured.counters?.();
  const answered = answeredOf(load);
  return {
    cpuMicrosPerClaim: cpuMicrosPer(answered, before, after),
    claimsPerSecond: (answered / load.durationMs) * 1_000,
    writtenPerSecond: (answered / writtenMs) * 1_000,
    ...(countedBefore !== undefined &&
      countedAfter !== undefined && { counted: countedBetween(countedBefore, countedAfter) }),
    load,
  };
}

/** As `measureLoad`; rejects when a single claim got another answer than `expected`, or none: its figures are worth nothing. */
export async function measureAnswered(
  expected: string,
  measured: Measured,
  generator: LoadSource,
  job: Omit<LoadJob, 'url'>,
): Promise<MeasuredLoad> {
  const one = await measureLoad(measured, generator, job);
  const [complaint] = complaintsOf(`claims of ${job.couponId}`, one.load, expected);
  if (complaint !== undefined) throw new Error(complaint);
  return one;
}

/** Claims that were answered, with whatever. */
export function answeredOf({ answers }: LoadResult): number {
  return Object.values(answers).reduce((sum, count) => sum + count, 0);
}

/** What its processes have used since they started. */
export async function readCpu(measured: Measured): Promise<CpuMicros> {
  const cpu = cpuMicrosByKind(measured.pids);
  return measured.redisCpuMicros === undefined ? cpu : { ...cpu, redis: await measured.redisCpuMicros() };
}

function countedBetween(before: Counters, after: Counters): Counters {
  return { scriptCalls: after.scriptCalls - before.scriptCalls, commits: after.commits - before.commits };
}
