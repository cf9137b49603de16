// The private MariaDB: its options and why. Loopback TCP only and no Unix socket, so that the one account with a
// password is the one way in (root may only log in through a socket). No configuration file of the machine is read.
import { join } from 'node:path';
import { connectMysql } from '../mysql.js';
import type { MariadbExecutables } from './executables.js';
import { provideDataFolder, runAsRoot } from './mariadb-data-folder.js';
import { makePrivateFolder, readOrMakeSecret, writePrivateFile } from './private-files.js';
import type { ServerProgram } from './server-process.js';
import { claimDataFolder, startOnFreePort } from './server-process.js';
import type { WatchContext, WatchedServer } from './server-watch.js';
import { watchServer } from './server-watch.js';

const DATABASE = 'stampede';
const USER = 'stampede';
/** Crash recovery replays at most the redo log (96 MB) and then rolls back what was open. */
const START_TIMEOUT_MS = 900_000;
const STOP_TIMEOUT_MS = 30_000;
const BUFFER_POOL_MB = 256;
const CONNECTIONS_MAX = 256;

export interface MariadbServerOptions {
  /** Private folder; the server uses `mariadb`, `run`, `logs` and `mariadb-password` in it. */
  readonly dir: string;
  readonly executables: MariadbExecutables;
  /** True: the account may make and drop databases, as tests want it. Default false: it has `stampede` alone. */
  readonly mayCreateDatabases?: boolean | undefined;
  /** Default 256. */
  readonly bufferPoolMb?: number | undefined;
}

/** Starts the server on a free port and brings it back when it dies. Throws `ConfigurationError` and `ServerError`. */
export async function startMariadbServer(options: MariadbServerOptions, context: WatchContext): Promise<WatchedServer> {
  const program = await mariadbProgram(options);
  await prepareMariadb(options, program, context);
  context.report('Starting MariaDB');
  return watchServer(program, await startOnFreePort(program, context), context);
}

/** Stops an orphan and makes the data folder if there is none. Before every first start of a program. */
export async function prepareMariadb(
  options: MariadbServerOptions,
  program: ServerProgram,
  context: Pick<WatchContext, 'log' | 'report' | 'signal'>,
): Promise<void> {
  await provideDataFolder(program.dataFolder, options.executables, context);
  await claimDataFolder(program, context.log);
}

/** The server as something that can be started; makes its password, but not its data folder. */
export async function mariadbProgram(options: MariadbServerOptions): Promise<ServerProgram> {
  const { dir } = options;
  const dataFolder = join(dir, 'mariadb');
  const initFile = join(dir, 'run', 'mariadb-init.sql');
  for (const folder of [dir, join(dir, 'run'), join(dir, 'logs')]) await makePrivateFolder(folder);
  const password = await readOrMakeSecret(join(dir, 'mariadb-password'));
  const url = (port: number): string => `mysql://${USER}:${password}@127.0.0.1:${port}/${DATABASE}`;
  return {
    title: 'MariaDB',
    executable: options.executables.server,
    dataFolder,
    logFile: join(dir, 'logs', 'mariadb.log'),
    recordFile: join(dir, 'run', 'mariadb.json'),
    startTimeoutMs: START_TIMEOUT_MS,
    stopTimeoutMs: STOP_TIMEOUT_MS,
    url,
    prepare: async (port) => {
      await writePrivateFile(initFile, accountSql(password, options.mayCreateDatabases === true));
      return [
        '--no-defaults',
        `--datadir=${dataFolder}`,
        '--bind-address=127.0.0.1',
        `--port=${port}`,
        // None: what is not there needs no protection and no short path.
        '--socket=',
        `--pid-file=${join(dir, 'run', 'mariadb.pid')}`,
        `--init-file=${initFile}`,
        ...runAsRoot(),
        '--skip-name-resolve',
        '--skip-log-bin',
        '--innodb-flush-log-at-trx-commit=1',
        `--innodb-buffer-pool-size=${options.bufferPoolMb ?? BUFFER_POOL_MB}M`,
        `--max-connections=${CONNECTIONS_MAX}`,
        '--character-set-server=utf8mb4',
        '--collation-server=utf8mb4_bin',
        '--sql-mode=STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
        '--local-infile=OFF',
        '--feedback=OFF',
        // Without a line for every connection that a killed process of ours leaves behind.
        '--log-warnings=1',
      ];
    },
    probe: async (port) => {
      const connection = await connectMysql(url(port));
      await connection.end();
    },
  };
}

/** Run by the server itself before it accepts anybody, at every start: repeating it changes nothing. One statement a line. */
function accountSql(password: string, mayCreateDatabases: boolean): string {
  const account = `'${USER}'@'127.0.0.1'`;
  const lines = [
    `CREATE DATABASE IF NOT EXISTS ${DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;`,
    `CREATE USER IF NOT EXISTS ${account} IDENTIFIED BY '${password}';`,
    `ALTER USER ${account} IDENTIFIED BY '${password}';`,
    `GRANT ALL ON ${mayCreateDatabases ? '*' : DATABASE}.* TO ${account};`,
  ];
  return `${lines.join('\n')}\n`;
}
