// CPU time of the service's processes, by their kind.
import type { CpuMicros } from './claims-result.js';
import { cpuMicrosOf } from './cpu.js';
import type { ProcessKind, Service } from './service.js';

/** µs that each kind has used since its processes started. */
export function cpuMicrosByKind(pids: Service['pids']): CpuMicros {
  const entries = Object.entries(pids) as [ProcessKind, readonly number[]][];
  return Object.fromEntries(
    entries.map(([kind, list]) => [kind, list.reduce((sum, pid) => sum + cpuMicrosOf(pid), 0)]),
  );
}

/** µs for each of `units`, between two readings. */
export function cpuMicrosPer(units: number, before: CpuMicros, after: CpuMicros): CpuMicros {
  const kinds = Object.keys(after) as ProcessKind[];
  return Object.fromEntries(kinds.map((kind) => [kind, ((after[kind] ?? 0) - (before[kind] ?? 0)) / units]));
}
