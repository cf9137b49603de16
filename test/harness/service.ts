// The whole service as users run it: `bin/stampede.js start` in a process group of its own, on free ports, with a data
// folder of its own. Needs the build (npm test makes it).
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { findFreePort } from '../../platform/embedded/free-port.js';
import { packagePath } from '../../platform/package-root.js';
import { atEndOfFile } from './cleanup.js';
import { endProcessesBelow, processesBelow } from './left-behind.js';
import { makeScratchFolder } from './scratch.js';
import { stillOpen } from './still-open.js';
import { waitFor } from './wait-for.js';

const READY_LINE = 'stampede ready';
const READY_TIMEOUT_MS = 90_000;
/** Longer than DRAIN_TIMEOUT_MS of all roles together. */
const STOP_TIMEOUT_MS = 90_000;
/** For tests that start the service: several starts and stops on a machine that is busy with something else. */
export const SERVICE_TEST_TIMEOUT_MS = 240_000;
/** The newest part is kept. */
const OUTPUT_CHARACTERS_MAX = 4_000_000;
const OUTPUT_TAIL_CHARACTERS = 4_000;

export interface ServiceExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface TestService {
  /** Of the public and of the admin API, without a slash at the end. */
  readonly url: string;
  readonly adminUrl: string;
  readonly adminToken: string;
  /** STAMPEDE_DIR. */
  readonly dir: string;
  /** Of the primary. */
  readonly pid: number;
  /** What the service wrote to stdout and stderr so far. */
  output(): string;
  /** Process ids of the workers that run now, by name (`http-1`). */
  workers(): Promise<ReadonlyMap<string, number>>;
  /** Resolves when the primary has ended. */
  readonly exited: Promise<ServiceExit>;
  /** Default SIGTERM; resolves with how the primary ended. Done at the end of the file in any case. */
  stop(signal?: NodeJS.Signals): Promise<ServiceExit>;
}

/**
 * Starts the service and resolves when it says that it is ready. `env` holds its whole environment but for ports, folder,
 * admin token and log level, which it may override: REDIS_URL, MYSQL_URL and what the test is about.
 */
export async function startService(env: Readonly<Record<string, string>> = {}): Promise<TestService> {
  const dir = env['STAMPEDE_DIR'] ?? (await makeScratchFolder('service'));
  const [port, adminPort] = [await findFreePort(), await findFreePort()];
  const settings = {
    PORT: String(port),
    ADMIN_PORT: String(adminPort),
    ADMIN_TOKEN: randomBytes(16).toString('hex'),
    STAMPEDE_DIR: dir,
    LOG_LEVEL: 'info',
    ...env,
  };
  const child = spawn(process.execPath, [packagePath('bin', 'stampede.js'), 'start'], {
    // Its working folder is how the run's end recognises it (scratch.ts).
    cwd: dir,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...settings },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = collect(child);
  const exited = once(child, 'close').then((): ServiceExit => ({ code: child.exitCode, signal: child.signalCode }));
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<ServiceExit> => {
    child.kill(signal);
    const hasStopped = waitFor(() => hasEnded(child), {
      what: `the service to end on ${signal}`,
      timeoutMs: STOP_TIMEOUT_MS,
    });
    await hasStopped.catch(async (error: unknown) => {
      throw new Error(`the service did not end on ${signal}:\n${await stillOpen(dir)}`, { cause: error });
    });
    return exited;
  };
  atEndOfFile(async () => {
    const exit = await stop().catch(() => stop('SIGKILL'));
    // A primary that was killed cannot end its workers and servers; one that ended in order must have.
    if (exit.signal === 'SIGKILL') await endProcessesBelow(dir);
  });
  const isReady = waitFor(() => hasEnded(child) || output().includes(READY_LINE), {
    what: READY_LINE,
    timeoutMs: READY_TIMEOUT_MS,
  });
  await isReady.catch((error: unknown) => {
    throw new Error(`the service did not become ready:\n${output().slice(-OUTPUT_TAIL_CHARACTERS)}`, { cause: error });
  });
  if (child.pid === undefined || hasEnded(child)) {
    throw new Error(`the service ended during its start:\n${output().slice(-OUTPUT_TAIL_CHARACTERS)}`);
  }
  return {
    url: `http://127.0.0.1:${settings.PORT}`,
    adminUrl: `http://127.0.0.1:${settings.ADMIN_PORT}`,
    adminToken: settings.ADMIN_TOKEN,
    dir,
    pid: child.pid,
    output,
    workers: () => workersOf(dir),
    exited,
    stop,
  };
}

function collect(child: ChildProcess): () => string {
  let output = '';
  const append = (text: string): void => {
    output = (output + text).slice(-OUTPUT_CHARACTERS_MAX);
  };
  child.stdout?.setEncoding('utf8').on('data', append);
  child.stderr?.setEncoding('utf8').on('data', append);
  return () => output;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function workersOf(dir: string): Promise<ReadonlyMap<string, number>> {
  const workers = new Map<string, number>();
  for (const pid of await processesBelow(dir)) {
    const name = /(?:^|\0)STAMPEDE_NAME=([^\0]+)/.exec(environmentOf(pid))?.[1];
    if (name !== undefined) workers.set(name, pid);
  }
  return workers;
}

/** As it was given to the process; empty when that has ended. */
function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch {
    return '';
  }
}
