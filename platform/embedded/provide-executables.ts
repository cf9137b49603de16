// Decides where the programs of the embedded servers come from: what is there, else installed, else an error that tells
// people what to do. Starts no server.
import { ConfigurationError } from '../errors.js';
import { installCommand, installPackages, MARIADB_PACKAGE, REDIS_PACKAGE } from './debian-packages.js';
import type { Executable, Machine, MariadbExecutables, Unusable } from './executables.js';
import { findFile, findMariadb, findRedis } from './executables.js';

export interface Executables {
  readonly redis: Executable | undefined;
  readonly mariadb: MariadbExecutables | undefined;
}

interface Request {
  readonly redis: boolean;
  readonly mysql: boolean;
  readonly machine: Machine;
  readonly report: (step: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** The programs that are asked for. Throws `ConfigurationError` with the command to run or the variable to set. */
export async function provideExecutables(request: Request): Promise<Executables> {
  const before = await look(request);
  if (before.problems.length === 0) return before;

  const { machine } = request;
  const packages = before.problems.map((problem) => problem.package);
  const aptGet = await findFile('apt-get', machine);
  if (aptGet === undefined) throw explain(before.problems, 'Install them with the package manager of this machine');
  const command = installCommand(packages);
  if (!machine.isRoot) throw explain(before.problems, `Run: sudo sh -c '${command}'`);

  const failure = await installPackages(aptGet, packages, request.report, request.signal);
  const after = await look(request);
  if (after.problems.length === 0) return after;
  const outcome = failure === undefined ? 'installed what this system offers' : `failed: ${failure}`;
  throw explain(after.problems, `\`${command}\` ${outcome}. Install them by hand`);
}

interface Problem {
  readonly what: string;
  readonly package: string;
  readonly variable: string;
}

async function look(request: Request): Promise<Executables & { problems: Problem[] }> {
  const [redis, mariadb] = await Promise.all([
    request.redis ? findRedis(request.machine) : undefined,
    request.mysql ? findMariadb(request.machine) : undefined,
  ]);
  const problems: Problem[] = [];
  if (redis !== undefined && redis.found === undefined) {
    problems.push({ what: describe('redis-server', redis), package: REDIS_PACKAGE, variable: 'REDIS_URL' });
  }
  if (mariadb !== undefined && mariadb.found === undefined) {
    problems.push({ what: describe('mariadbd', mariadb), package: MARIADB_PACKAGE, variable: 'MYSQL_URL' });
  }
  return { redis: redis?.found, mariadb: mariadb?.found, problems };
}

function describe(name: string, search: Unusable): string {
  return search.unusable.length === 0 ? `${name} is missing` : search.unusable.join(' and ');
}

function explain(problems: readonly Problem[], remedy: string): ConfigurationError {
  const variables = problems.map((problem) => problem.variable).join(' and ');
  const what = problems.map((problem) => problem.what).join('; ');
  return new ConfigurationError(
    `${what}. ${remedy}, or set ${variables} to servers of your own, or use Docker (compose.yaml).`,
  );
}
