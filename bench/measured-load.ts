// One load of claims on the service, with what it has cost: CPU time of every kind of process for each claim.
import type { CpuMicros } from './claims-result.js';
import type { LoadGenerator } from './load-generator.js';
import type { LoadJob, LoadResult } from './load-job.js';
import type { Service } from './service.js';
import { cpuMicrosByKind, cpuMicrosPer } from './service-cpu.js';

export interface MeasuredLoad {
  /** Until all rows are written: only then has a claim cost all that it costs. */
  readonly cpuMicrosPerClaim: CpuMicros;
  readonly claimsPerSecond: number;
  readonly load: LoadResult;
}

/** Waits for the ledger before and after. Nobody else may use the service meanwhile. */
export async function measureLoad(
  { url, pids, databases }: Service,
  generator: LoadGenerator,
  job: Omit<LoadJob, 'url'>,
): Promise<MeasuredLoad> {
  await databases.whenWritten();
  await generator.connect({ ...job, url });
  const before = cpuMicrosByKind(pids);
  const load = await generator.go();
  await databases.whenWritten();
  return {
    cpuMicrosPerClaim: cpuMicrosPer(job.requests, before, cpuMicrosByKind(pids)),
    claimsPerSecond: (job.requests / load.durationMs) * 1_000,
    load,
  };
}
