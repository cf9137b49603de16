// What the benchmark ran on: hardware and versions. Starts programs only to ask for that.
import { execFile } from 'node:child_process';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { findMariadb, findRedis, thisMachine, versionOf } from '../platform/embedded/executables.js';
import { packagePath } from '../platform/package-root.js';

const GIT_TIMEOUT_MS = 10_000;

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  readonly redis: string;
  readonly mariadb: string;
  /** Of this repository; with a `+` when files differ from it. */
  readonly commit: string;
}

/** What cannot be found out is `unknown`. */
export async function describeMachine(): Promise<Machine> {
  const [redis, mariadb] = await Promise.all([findRedis(thisMachine()), findMariadb(thisMachine())]);
  const [redisVersion, mariadbVersion, commit, changes] = await Promise.all([
    redis.found === undefined ? '' : versionOf(redis.found),
    mariadb.found === undefined ? '' : versionOf(mariadb.found.server),
    git('rev-parse', '--short=12', 'HEAD'),
    git('status', '--porcelain', '--untracked-files=no'),
  ]);
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGib: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    kernel: release(),
    node: process.versions.node,
    redis: /v=(\S+)/.exec(redisVersion)?.[1] ?? 'unknown',
    mariadb: /Ver (\d\S*?)-MariaDB/.exec(mariadbVersion)?.[1] ?? 'unknown',
    commit: commit === '' ? 'unknown' : `${commit}${changes === '' ? '' : '+'}`,
  };
}

/** Empty where there is no git or no repository. */
async function git(...args: readonly string[]): Promise<string> {
  return await promisify(execFile)('git', [...args], { cwd: packagePath(), timeout: GIT_TIMEOUT_MS }).then(
    ({ stdout }) => stdout.trim(),
    () => '',
  );
}
