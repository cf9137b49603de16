// Finds the programs of the embedded servers on this machine and checks their versions. Starts them only to ask for that.
// Redis: `redis-server`, or Debian's `redis-check-rdb`, which is the same program and acts as the server when it is
// called by that name; its package, unlike the server's own, registers no service on the machine.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';

const VERSION_TIMEOUT_MS = 10_000;
/** Not on everybody's PATH, and where Debian keeps mariadbd. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

export interface Executable {
  /** Absolute. */
  readonly path: string;
  /** The name it is called by, where that is not the file's. */
  readonly argv0?: string;
}

/** What the search depends on; tests pass another one. */
export interface Machine {
  /** May install packages. */
  readonly isRoot: boolean;
  /** Folders, first come, first served. */
  readonly searchPath: readonly string[];
}

export function thisMachine(): Machine {
  const path = process.env['PATH']?.split(delimiter).filter((folder) => folder !== '') ?? [];
  return { isRoot: process.getuid?.() === 0, searchPath: [...new Set([...path, ...SYSTEM_FOLDERS])] };
}

/** A program that is usable, or why there is none: missing, or each one found with what is wrong with it. */
export type Search<T> = { readonly found: T } | Unusable;

export interface Unusable {
  readonly found: undefined;
  readonly unusable: readonly string[];
}

interface Wanted {
  readonly candidates: readonly { readonly file: string; readonly argv0?: string }[];
  /** First group: the version's major, second group: its minor number. */
  readonly versionPattern: RegExp;
  readonly versionMin: readonly [number, number];
}

// 7.0: the multi-part AOF; scripts that do not know whether a replica runs them (effects replication only).
const REDIS: Wanted = {
  candidates: [{ file: 'redis-server' }, { file: 'redis-check-rdb', argv0: 'redis-server' }],
  versionPattern: /server v=(\d+)\.(\d+)/,
  versionMin: [7, 0],
};

const MARIADB: Wanted = {
  candidates: [{ file: 'mariadbd' }],
  versionPattern: /Ver (\d+)\.(\d+)\.\d+-MariaDB/,
  versionMin: [10, 6],
};

export function findRedis(machine: Machine): Promise<Search<Executable>> {
  return search(REDIS, machine);
}

export interface MariadbExecutables {
  readonly server: Executable;
  /** Path of `mariadb-install-db`, which makes a new data folder. */
  readonly installer: string;
}

export async function findMariadb(machine: Machine): Promise<Search<MariadbExecutables>> {
  const [server, installer] = await Promise.all([search(MARIADB, machine), findFile('mariadb-install-db', machine)]);
  if (server.found === undefined) return server;
  if (installer === undefined) return { found: undefined, unusable: ['mariadb-install-db is missing'] };
  return { found: { server: server.found, installer } };
}

/** The absolute path of an executable file, or undefined. */
export async function findFile(name: string, machine: Machine): Promise<string | undefined> {
  for (const folder of machine.searchPath) {
    const path = join(folder, name);
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return path;
  }
  return undefined;
}

async function search(wanted: Wanted, machine: Machine): Promise<Search<Executable>> {
  const unusable: string[] = [];
  for (const { file, argv0 } of wanted.candidates) {
    const path = await findFile(file, machine);
    if (path === undefined) continue;
    const executable = argv0 === undefined ? { path } : { path, argv0 };
    const problem = await problemOf(executable, wanted);
    if (problem === undefined) return { found: executable };
    unusable.push(problem);
  }
  return { found: undefined, unusable };
}

async function problemOf(executable: Executable, wanted: Wanted): Promise<string | undefined> {
  const output = await versionOf(executable);
  const [, major, minor] = (wanted.versionPattern.exec(output) ?? []).map(Number);
  if (major === undefined || minor === undefined) return `${executable.path} does not tell its version`;
  const [majorMin, minorMin] = wanted.versionMin;
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return undefined;
  return `${executable.path} is version ${major}.${minor}, and ${majorMin}.${minorMin} or newer is needed`;
}

/** What it prints about its version; empty when it does not run, e.g. because a library is missing. */
export async function versionOf({ path, argv0 }: Executable): Promise<string> {
  // Not execFile, which drops argv0.
  const child = spawn(path, ['--version'], {
    ...(argv0 === undefined ? {} : { argv0 }),
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: VERSION_TIMEOUT_MS,
  });
  try {
    const [output] = await Promise.all([text(child.stdout), once(child, 'close')]);
    return output;
  } catch {
    return '';
  }
}
