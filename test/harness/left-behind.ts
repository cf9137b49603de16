// The processes that work below a folder. Everything that tests start works below the run's one scratch folder, so
// whatever does so after the run was left behind, and may be ended: nobody else knows the folder. Linux only (/proc).
import { readFileSync, readlinkSync } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { sep } from 'node:path';
import { waitFor } from './wait-for.js';

const TERM_TIMEOUT_MS = 10_000;

/** Ids of the processes whose working folder is `folder` or below. */
export async function processesBelow(folder: string): Promise<number[]> {
  const root = await realpath(folder);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.filter((pid) => {
    const cwd = workingFolder(pid);
    return cwd === root || cwd?.startsWith(root + sep) === true;
  });
}

/**
 * Ends whatever works below the folder and returns what it was, e.g. `4711 redis-server`. A process that has no command
 * line any more is ending by itself: it is waited for, and is not told of.
 */
export async function endProcessesBelow(folder: string): Promise<string[]> {
  const left = (await processesBelow(folder)).map((pid) => ({ pid, command: commandOf(pid) }));
  for (const { pid } of left) signal(pid, 'SIGTERM');
  const gone = waitFor(async () => (await processesBelow(folder)).length === 0, {
    what: 'processes left behind to end',
    timeoutMs: TERM_TIMEOUT_MS,
  });
  await gone.catch(async () => {
    for (const pid of await processesBelow(folder)) signal(pid, 'SIGKILL');
    await waitFor(async () => (await processesBelow(folder)).length === 0, { what: 'killed processes to end' });
  });
  return left.filter(({ command }) => command !== '').map(({ pid, command }) => `${pid} ${command}`);
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Ended by itself meanwhile.
  }
}

function workingFolder(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    // Gone meanwhile, a zombie, or somebody else's.
    return undefined;
  }
}
