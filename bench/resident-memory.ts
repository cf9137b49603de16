// Resident memory of a process, as the kernel counts it. Linux only (/proc).
import { readFileSync } from 'node:fs';

/** Bytes. Throws when the process has ended. */
export function residentBytesOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kib === undefined) throw new Error(`the kernel does not tell the resident memory of process ${pid}`);
  return Number(kib) * 1_024;
}
