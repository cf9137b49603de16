// The real pm2 with a home of its own, running this project's ecosystem.config.js as it stands. pm2 is no dependency of the
// project: it is fetched once with npm, and kept below .stampede/test for the next run.
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packagePath } from '../../platform/package-root.js';
import { atEndOfFile } from './cleanup.js';
import { makeScratchFolder } from './scratch.js';

const VERSION = '7.0.4';
const FETCH_LIMIT_MS = 120_000;
/** A start waits until the service is ready, a stop until it has drained. */
const COMMAND_LIMIT_MS = 180_000;
const run = promisify(execFile);

export interface Pm2Process {
  readonly pid: number;
  /** `online`, `stopped`, `errored`, `launching`, … */
  readonly status: string;
  readonly restarts: number;
}

export interface TestPm2 {
  /** Where the service works: with `ecosystem.config.js` and `bin`, as in a checkout. */
  readonly folder: string;
  /** `pm2 …`; resolves with what it printed, rejects when it fails. `env` is what the service gets with `start`. */
  command(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>;
  /** What pm2 knows of the service; undefined when it has none. */
  service(): Promise<Pm2Process | undefined>;
  /** pm2's own log. */
  log(): Promise<string>;
}

/** Everything that it runs ends with the test file. */
export async function startPm2(): Promise<TestPm2> {
  const program = await fetchPm2();
  const folder = await makeScratchFolder('pm2');
  const home = join(folder, '.pm2');
  for (const file of ['ecosystem.config.js', 'package.json']) await cp(packagePath(file), join(folder, file));
  await symlink(packagePath('bin'), join(folder, 'bin'));
  const command = async (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> => {
    const { stdout, stderr } = await run(process.execPath, [program, ...args], {
      cwd: folder,
      env: { PATH: process.env['PATH'], HOME: folder, PM2_HOME: home, PM2_DISABLE_VERSION_CHECK: 'true', ...env },
      timeout: COMMAND_LIMIT_MS,
    });
    return stdout + stderr;
  };
  atEndOfFile(() => command(['kill']));
  return {
    folder,
    command,
    service: async () => {
      const list = JSON.parse(await command(['jlist', '--silent'])) as {
        pid: number;
        pm2_env: { status: string; restart_time: number };
      }[];
      const [found] = list;
      if (found === undefined) return undefined;
      return { pid: found.pid, status: found.pm2_env.status, restarts: found.pm2_env.restart_time };
    },
    log: () => readFile(join(home, 'pm2.log'), 'utf8'),
  };
}

async function fetchPm2(): Promise<string> {
  const place = packagePath('.stampede', 'test', `pm2-${VERSION}`);
  const program = join('node_modules', 'pm2', 'bin', 'pm2');
  if (existsSync(join(place, program))) return join(place, program);
  const fresh = await makeScratchFolder('npm');
  const options = ['--prefix', fresh, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  await run('npm', ['install', ...options, `pm2@${VERSION}`], { cwd: fresh, timeout: FETCH_LIMIT_MS });
  // Whole or not at all: a run that was stopped must not leave half of it.
  await mkdir(packagePath('.stampede', 'test'), { recursive: true });
  await rm(place, { recursive: true, force: true });
  await rename(fresh, place).catch(async () => await cp(fresh, place, { recursive: true }));
  return join(place, program);
}
