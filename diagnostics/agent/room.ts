// Says whether a heap snapshot fits: into the memory that this process may still take (cgroup limit included) and onto
// the disk. The answer is numbers, so that a refusal can show them.
import { statfsSync } from 'node:fs';
import { freemem } from 'node:os';

/** V8 needs up to this many times the used heap while it takes a snapshot (measured: 15 with many small objects). */
const MEMORY_PER_HEAP_BYTE = 15;
/** The file is JSON: about 1 to 3 bytes per byte of heap, more with many small objects. */
const DISK_PER_HEAP_BYTE = 5;
const MEBIBYTE = 1024 * 1024;

export interface Room {
  /** Bytes that this process may still take: the least of what the machine and the cgroup have left. */
  readonly memoryBytes: number;
  /** Bytes left where the file goes. */
  readonly diskBytes: number;
}

export function readRoom(folder: string): Room {
  const { bavail, bsize } = statfsSync(folder);
  return { memoryBytes: Math.min(process.availableMemory(), freemem()), diskBytes: bavail * bsize };
}

/** Why a snapshot of a heap of `heapBytes` does not fit, with the numbers; undefined when it does. */
export function lackOfRoom(heapBytes: number, room: Room): string | undefined {
  const lacks: string[] = [];
  const compare = (what: string, factor: number, has: number): void => {
    const needs = heapBytes * factor;
    if (needs > has) lacks.push(`up to ${mib(needs)} of ${what}, ${mib(has)} are free`);
  };
  compare('memory', MEMORY_PER_HEAP_BYTE, room.memoryBytes);
  compare('disk', DISK_PER_HEAP_BYTE, room.diskBytes);
  return lacks.length === 0 ? undefined : `a snapshot of ${mib(heapBytes)} of heap may need ${lacks.join(', and ')}`;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MEBIBYTE)} MiB`;
}
