// Which process is meant: a process id alone is used again, so the start time, the boot and the namespace of process ids
// count as well. Whether such a process is dead can be proven on its own machine, and nowhere else. Linux only (/proc).
import { readFileSync, readlinkSync } from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/<pid>/stat: clock ticks between the boot and the start of the process. */
  readonly startTicks: string;
  readonly bootId: string;
}

/** Undefined when there is no such process, or only what is left of it until its parent asks (a zombie). */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in field 2 may hold spaces and parentheses: count from the last one. Field 3 is the first after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const startTicks = fields[19];
    if (fields[0] === 'Z' || fields[0] === 'X' || startTicks === undefined) return undefined;
    const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return { pid, startTicks, bootId };
  } catch {
    return undefined;
  }
}

/** True while the very process that was identified still runs. */
export function isSame(identity: ProcessIdentity): boolean {
  const now = identify(identity.pid);
  return now?.startTicks === identity.startTicks && now.bootId === identity.bootId;
}

/** What names a process all over the fleet. `place`: the boot and the namespace in which its pid means something. */
export interface FleetProcess {
  readonly place: string;
  readonly pid: number;
  readonly startTicks: string;
}

export function thisProcess(): FleetProcess {
  const own = identify(process.pid);
  if (own === undefined) throw new Error('this process is not in /proc');
  return { place: `${own.bootId}/${readlinkSync('/proc/self/ns/pid')}`, pid: own.pid, startTicks: own.startTicks };
}

/** True when the process is certainly dead. False for one that lives, and for one of another machine or container. */
export function isProvenDead(other: FleetProcess, observer: FleetProcess): boolean {
  if (other.place !== observer.place) return false;
  const now = identify(other.pid);
  if (now !== undefined) return now.startTicks !== other.startTicks;
  return !isHidden(other.pid);
}

/** A system may hide the processes of other users in /proc. */
function isHidden(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // Only what is left of one of our own, or one that has just begun.
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
