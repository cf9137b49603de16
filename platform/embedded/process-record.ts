// Remembers on disk which process serves a data folder, so that a server orphaned by a crash can be found and stopped at
// the next start. Only a process that is provably the recorded one is ever signalled: process ids are reused, therefore
// the start time and the boot must agree as well, and the process must still work in the data folder. Linux only (/proc).
import { readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.js';
import type { ProcessIdentity } from '../process-identity.js';
import { identify, isSame } from '../process-identity.js';

const POLL_MS = 20;
/** A killed process is gone at once unless the kernel waits for a disk. */
const KILL_TIMEOUT_MS = 10_000;

export interface ProcessRecord extends ProcessIdentity {
  /** Absolute, without symbolic links: where the process works. */
  readonly folder: string;
}

/** Synchronous, so that nothing can happen between the start of a process and its record. */
export function recordProcess(file: string, pid: number, folder: string): void {
  const identity = identify(pid);
  // Already dead: whoever started it learns that from its exit.
  if (identity === undefined) return;
  writeFileSync(file, JSON.stringify({ ...identity, folder } satisfies ProcessRecord), { mode: 0o600 });
}

export function forgetProcess(file: string): void {
  rmSync(file, { force: true });
}

/** The record in `file` if its very process still runs in its folder. */
export function findRecorded(file: string): ProcessRecord | undefined {
  const record = readRecord(file);
  return record !== undefined && isSame(record) && workingFolder(record.pid) === record.folder ? record : undefined;
}

/**
 * Stops the process recorded in `file` if it still runs: SIGTERM, after `termTimeoutMs` SIGKILL. Returns whether there
 * was one. Throws if it survives even that.
 */
export async function stopRecorded(file: string, termTimeoutMs: number, log: Log): Promise<boolean> {
  const record = findRecorded(file);
  if (record !== undefined) {
    log.warn({ serverPid: record.pid, folder: record.folder }, 'stopping a server left behind by an earlier run');
    process.kill(record.pid, 'SIGTERM');
    if (!(await isGone(record, termTimeoutMs))) {
      log.warn({ serverPid: record.pid }, 'it did not end in time, killing it');
      process.kill(record.pid, 'SIGKILL');
      if (!(await isGone(record, KILL_TIMEOUT_MS))) throw new Error(`process ${record.pid} does not end`);
    }
  }
  forgetProcess(file);
  return record !== undefined;
}

/** Process ids of those that run `executable` in `folder`, recorded or not. What other users run is not seen. */
export async function processesIn(folder: string, executable: string): Promise<number[]> {
  const [realFolder, realExecutable] = await Promise.all([realpath(folder), realpath(executable)]);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.filter((pid) => workingFolder(pid) === realFolder && executableOf(pid) === realExecutable);
}

function readRecord(file: string): ProcessRecord | undefined {
  try {
    const value = JSON.parse(readFileSync(file, 'utf8')) as Partial<ProcessRecord> | null;
    if (typeof value?.pid !== 'number' || typeof value.folder !== 'string') return undefined;
    return value as ProcessRecord;
  } catch {
    return undefined;
  }
}

async function isGone(record: ProcessIdentity, limitMs: number): Promise<boolean> {
  const deadline = Date.now() + limitMs;
  while (isSame(record)) {
    if (Date.now() > deadline) return false;
    await delay(POLL_MS);
  }
  return true;
}

function workingFolder(pid: number): string | undefined {
  return readLink(`/proc/${pid}/cwd`);
}

function executableOf(pid: number): string | undefined {
  // An upgrade of the package replaces the file under a running server; the kernel says so in the name.
  return readLink(`/proc/${pid}/exe`)?.replace(/ \(deleted\)$/, '');
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // Gone meanwhile, or somebody else's.
    return undefined;
  }
}
