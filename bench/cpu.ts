// CPU time of processes and of the whole machine, as the kernel counts it, and of Redis as it counts itself. Linux only (/proc).
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { Redis } from '../platform/redis.js';

/** USER_HZ, the unit of the times in /proc, is 100 on every architecture that Node runs on (proc(5), `getconf CLK_TCK`). */
const MICROS_PER_TICK = 1_000_000 / 100;
const MICROS_PER_MS = 1_000;

/** What a single difference of two readings may be wrong by, in µs. */
export const RESOLUTION_MICROS = MICROS_PER_TICK;

/** Fields 14 to 17 of /proc/<pid>/stat, counted from field 3, the first after the name. */
const UTIME = 11;
const STIME = 12;
const CHILDREN_UTIME = 13;
const CHILDREN_STIME = 14;

/** µs of CPU that the process has used so far, in user and kernel mode, all its threads. Throws when it has ended. */
export function cpuMicrosOf(pid: number): number {
  return ticksOf(pid, [UTIME, STIME]) * MICROS_PER_TICK;
}

/** µs of this process and of all its descendants that have ended and were waited for. */
export function ownCpuMicros(): number {
  return ticksOf(process.pid, [UTIME, STIME, CHILDREN_UTIME, CHILDREN_STIME]) * MICROS_PER_TICK;
}

/** µs of all descendants of this process that have ended and were waited for. */
export function endedChildrenCpuMicros(): number {
  return ticksOf(process.pid, [CHILDREN_UTIME, CHILDREN_STIME]) * MICROS_PER_TICK;
}

export interface ThreadMicros {
  /** µs of the thread that runs the program. */
  readonly main: number;
  /** µs of all threads that live now. */
  readonly all: number;
}

/** CPU time of a process by its threads: in nanoseconds where the kernel tells them, else in ticks. Throws when it has ended. */
export function threadMicrosOf(pid: number): ThreadMicros {
  const threads = readdirSync(`/proc/${pid}/task`).flatMap((id) => {
    try {
      return [{ id: Number(id), micros: microsOfTask(`/proc/${pid}/task/${id}`) }];
    } catch (error) {
      // Others than the main thread may have ended meanwhile.
      if (Number(id) === pid) throw error;
      return [];
    }
  });
  return {
    main: threads.find(({ id }) => id === pid)?.micros ?? NaN,
    all: threads.reduce((sum, { micros }) => sum + micros, 0),
  };
}

function microsOfTask(folder: string): number {
  const file = `${folder}/sched`;
  // ms, to the nanosecond.
  const exact = existsSync(file)
    ? /^se\.sum_exec_runtime\s*:\s*([\d.]+)/m.exec(readFileSync(file, 'utf8'))?.[1]
    : undefined;
  return exact === undefined
    ? ticksIn(`${folder}/stat`, [UTIME, STIME]) * MICROS_PER_TICK
    : Number(exact) * MICROS_PER_MS;
}

function ticksOf(pid: number, wanted: readonly number[]): number {
  return ticksIn(`/proc/${pid}/stat`, wanted);
}

function ticksIn(file: string, wanted: readonly number[]): number {
  const stat = readFileSync(file, 'utf8');
  // The name in field 2 may hold spaces and parentheses: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return wanted.reduce((sum, index) => sum + Number(fields[index]), 0);
}

export interface MachineTime {
  /** µs of all cores together since the boot. */
  readonly total: number;
  /** Of these, µs in which a core did anything, or was taken away by the host of this virtual machine. */
  readonly busy: number;
}

export function machineTime(): MachineTime {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n', 1);
  // cpu  user nice system idle iowait irq softirq steal; what follows is part of user and nice.
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const total = ticks.reduce((sum, value) => sum + value, 0);
  const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
  return { total: total * MICROS_PER_TICK, busy: (total - idle) * MICROS_PER_TICK };
}

/** µs that redis-server has used since its start, all threads: the same time as in /proc, but finer than a clock tick. */
export async function redisCpuMicros(redis: Redis): Promise<number> {
  return redisCpuMicrosIn(await redis.info('cpu'));
}

/** The same in the text of `INFO cpu`. */
export function redisCpuMicrosIn(info: string): number {
  const seconds = ['used_cpu_user', 'used_cpu_sys'].map((name) =>
    Number(new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1]),
  );
  return seconds.reduce((sum, value) => sum + value, 0) * 1_000_000;
}
