// CPU time of the service's processes, by their kind.
import { cpuMicrosOf } from './cpu.js';
import type { ProcessKind } from './service.js';

/** Of µs, one number per kind of process. A peer's queue worker counts as its ledger. */
export type CpuMicros = Partial<Readonly<Record<ProcessKind, number>>>;
export type Pids = Partial<Readonly<Record<ProcessKind, readonly number[]>>>;

/** Throws when there is none: what was not read did not cost nothing. */
export function microsOf(cpu: CpuMicros, kind: ProcessKind): number {
  const micros = cpu[kind];
  if (micros === undefined) throw new Error(`the CPU time of ${kind} was not read`);
  return micros;
}

/** µs that each kind has used since its processes started. A kind without a process is left out. */
export function cpuMicrosByKind(pids: Pids): CpuMicros {
  const entries = Object.entries(pids) as [ProcessKind, readonly number[]][];
  return Object.fromEntries(
    entries.flatMap(([kind, list]) =>
      list.length === 0 ? [] : [[kind, list.reduce((sum, pid) => sum + cpuMicrosOf(pid), 0)]],
    ),
  );
}

/** µs for each of `units`, between two readings of the same kinds. */
export function cpuMicrosPer(units: number, before: CpuMicros, after: CpuMicros): CpuMicros {
  const kinds = Object.keys(after) as ProcessKind[];
  return Object.fromEntries(kinds.map((kind) => [kind, (microsOf(after, kind) - microsOf(before, kind)) / units]));
}
