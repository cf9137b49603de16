// CPU time of the service's processes, by their kind.
import { cpuMicrosOf } from './cpu.js';
import type { ProcessKind } from './service.js';

/** Of µs, one number per kind of process. A peer's queue worker counts as its ledger. */
export type CpuMicros = Partial<Readonly<Record<ProcessKind, number>>>;
export type Pids = Partial<Readonly<Record<ProcessKind, readonly number[]>>>;

/** µs that each kind has used since its processes started. */
export function cpuMicrosByKind(pids: Pids): CpuMicros {
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
