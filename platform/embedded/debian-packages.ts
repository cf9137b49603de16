// Installs missing programs with apt-get where this process may, and otherwise says exactly what to run. Never installs
// a package that registers a system service: these bring the programs alone.
import { execFile } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { messageOf } from '../errors.js';

export const REDIS_PACKAGE = 'redis-tools';
export const MARIADB_PACKAGE = 'mariadb-server-core';

const UPDATE_TIMEOUT_MS = 180_000;
const INSTALL_TIMEOUT_MS = 600_000;
/** Another apt-get may run, e.g. unattended upgrades. */
const LOCK_TIMEOUT_S = 120;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
/** Lines worth showing: what is being fetched and set up. */
const PROGRESS_LINE = /^(Get:|Unpacking|Setting up)/;

export function installCommand(packages: readonly string[]): string {
  return `apt-get update && apt-get install --yes --no-install-recommends ${packages.join(' ')}`;
}

/**
 * `apt-get update`, then `apt-get install`. Resolves with undefined when the packages are installed, else with the reason
 * why not, one line.
 */
export async function installPackages(
  aptGet: string,
  packages: readonly string[],
  report: (step: string) => void,
  signal?: AbortSignal,
): Promise<string | undefined> {
  report(`Installing ${packages.join(' and ')} (apt-get, once)`);
  const lock = ['-o', `DPkg::Lock::Timeout=${LOCK_TIMEOUT_S}`];
  // Without a network the lists that are there may do.
  const updateProblem = await run(aptGet, [...lock, 'update'], UPDATE_TIMEOUT_MS, report, signal);
  const installProblem = await run(
    aptGet,
    [...lock, 'install', '--yes', '--no-install-recommends', ...packages],
    INSTALL_TIMEOUT_MS,
    report,
    signal,
  );
  signal?.throwIfAborted();
  return installProblem === undefined ? undefined : (updateProblem ?? installProblem);
}

async function run(
  command: string,
  args: readonly string[],
  timeout: number,
  report: (step: string) => void,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const running = promisify(execFile)(command, args, {
    timeout,
    maxBuffer: OUTPUT_BYTES_MAX,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
    ...(signal === undefined ? {} : { signal }),
  });
  if (running.child.stdout !== null) {
    createInterface(running.child.stdout).on('line', (line) => {
      if (PROGRESS_LINE.test(line)) report(line);
    });
  }
  try {
    await running;
    return undefined;
  } catch (error) {
    return firstErrorLine(error);
  }
}

function firstErrorLine(error: unknown): string {
  const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
  return stderr.split('\n').find((line) => line.startsWith('E:')) ?? messageOf(error).split('\n')[0] ?? '';
}
