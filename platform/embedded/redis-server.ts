// The private Redis: what its configuration says and why. Loopback only, with a password, every write on disk before it
// is answered. Its data is `<dir>/redis`; two processes on it lose data, which claimDataFolder prevents.
import { join } from 'node:path';
import type { Log } from '../log.js';
import { connectRedis, whenRedisReady } from '../redis.js';
import type { Executable } from './executables.js';
import { makePrivateFolder, readOrMakeSecret, writePrivateFile } from './private-files.js';
import type { ServerProgram } from './server-process.js';
import { claimDataFolder, startOnFreePort } from './server-process.js';
import type { WatchContext, WatchedServer } from './server-watch.js';
import { watchServer } from './server-watch.js';

/** Loading an append-only file runs at about 100 MB/s; this is enough for tens of gigabytes. */
const START_TIMEOUT_MS = 900_000;
/** There is nothing left to save: every write is on disk already. */
const STOP_TIMEOUT_MS = 15_000;
const PROBE_TIMEOUT_MS = 1_000;

export interface RedisServerOptions {
  /** Private folder; the server uses `redis`, `run`, `logs` and `redis-password` in it. */
  readonly dir: string;
  readonly executable: Executable;
  /** Default `always`. */
  readonly appendfsync?: 'always' | 'everysec' | 'no' | undefined;
  /** False: nothing on disk, everything forgotten at its end. Default true. */
  readonly persistence?: boolean | undefined;
  /** Further lines of its configuration, for a server that is a node of a cluster, say. */
  readonly more?: readonly string[] | undefined;
}

/** Starts the server on a free port and brings it back when it dies. Throws `ConfigurationError` and `ServerError`. */
export async function startRedisServer(options: RedisServerOptions, context: WatchContext): Promise<WatchedServer> {
  const program = await redisProgram(options, context.log);
  await claimDataFolder(program, context.log);
  context.report('Starting Redis');
  return watchServer(program, await startOnFreePort(program, context), context);
}

/** The server as something that can be started; makes its folders and its password. */
export async function redisProgram(options: RedisServerOptions, log: Log): Promise<ServerProgram> {
  const { dir, executable } = options;
  const dataFolder = join(dir, 'redis');
  const configFile = join(dir, 'run', 'redis.conf');
  for (const folder of [dir, dataFolder, join(dir, 'run'), join(dir, 'logs')]) await makePrivateFolder(folder);
  const password = await readOrMakeSecret(join(dir, 'redis-password'));
  const url = (port: number): string => `redis://:${password}@127.0.0.1:${port}/0`;
  return {
    title: 'Redis',
    executable,
    dataFolder,
    logFile: join(dir, 'logs', 'redis.log'),
    recordFile: join(dir, 'run', 'redis.json'),
    startTimeoutMs: START_TIMEOUT_MS,
    stopTimeoutMs: STOP_TIMEOUT_MS,
    url,
    prepare: async (port) => {
      // A file and not arguments: everybody on the machine can read those of every process.
      await writePrivateFile(configFile, configuration(options, dataFolder, port, password));
      return [configFile];
    },
    probe: (port) => probe(url(port), log),
  };
}

function configuration(options: RedisServerOptions, dataFolder: string, port: number, password: string): string {
  const lines = [
    'bind 127.0.0.1',
    `port ${port}`,
    'protected-mode yes',
    `requirepass ${password}`,
    `dir ${JSON.stringify(dataFolder)}`,
    'daemonize no',
    'databases 16',
    // The append-only file is the one form of persistence; snapshots would only cost.
    'save ""',
    `appendonly ${options.persistence === false ? 'no' : 'yes'}`,
    `appendfsync ${options.appendfsync ?? 'always'}`,
    // Evicting a coupon would be forgetting who has claimed it.
    'maxmemory-policy noeviction',
    ...(options.more ?? []),
  ];
  return `${lines.join('\n')}\n`;
}

async function probe(url: string, log: Log): Promise<void> {
  // While the server starts, refused connections are no news.
  const silent = log.child({}, { level: 'silent' });
  const redis = connectRedis(url, { kind: 'request', commandTimeoutMs: PROBE_TIMEOUT_MS }, silent);
  try {
    // `ready` comes only after the data is loaded.
    await whenRedisReady(redis, PROBE_TIMEOUT_MS);
    await redis.ping();
  } finally {
    redis.disconnect();
  }
}
