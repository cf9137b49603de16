// The embedded servers of `npm start`: a private Redis and a private MariaDB for whatever the settings do not name.
// Puts the parts of this folder together. The caller holds the lock of the folder (folder-lock.ts).
import type { Log } from '../log.js';
import { messageOf } from '../errors.js';
import type { Machine } from './executables.js';
import { thisMachine } from './executables.js';
import { startMariadbServer } from './mariadb-server.js';
import { makePrivateFolder } from './private-files.js';
import { provideExecutables } from './provide-executables.js';
import { startRedisServer } from './redis-server.js';
import type { WatchedServer } from './server-watch.js';

export interface EmbeddedServersOptions {
  /** STAMPEDE_DIR, absolute; locked by the caller. */
  readonly dir: string;
  /** Which of them to run. */
  readonly redis: boolean;
  readonly mysql: boolean;
  /** Progress, one short sentence a step. */
  readonly report: (step: string) => void;
  readonly log: Log;
  /** A server keeps dying and is given up. */
  readonly onFailure: (reason: string) => void;
  /** Gives up a start that is under way; servers that run already are stopped. */
  readonly signal?: AbortSignal;
  /** Where to look for programs; default: this machine. */
  readonly machine?: Machine;
}

export interface EmbeddedServers {
  /** Set for the servers that run; include passwords. */
  readonly redisUrl?: string;
  readonly mysqlUrl?: string;
  /** Stops both, in parallel; resolves when they have ended. */
  stop(): Promise<void>;
}

/**
 * Starts what is asked for and resolves when all of it answers. If one cannot be started the other is stopped again.
 * Throws `ConfigurationError` (a program is missing, a folder is in use) and `ServerError`.
 */
export async function startEmbeddedServers(options: EmbeddedServersOptions): Promise<EmbeddedServers> {
  const { dir, log, report, signal, onFailure } = options;
  const context = { log, report, signal, onFailure };
  const executables = await provideExecutables({ ...options, machine: options.machine ?? thisMachine() });
  await makePrivateFolder(dir);
  const starts = await Promise.allSettled([
    executables.redis && startRedisServer({ dir, executable: executables.redis }, context),
    executables.mariadb && startMariadbServer({ dir, executables: executables.mariadb }, context),
  ]);
  const [redis, mariadb] = starts.map((start) => (start.status === 'fulfilled' ? start.value : undefined));
  const stop = (): Promise<void> => stopAll([redis, mariadb]);
  const failure = starts.find((start) => start.status === 'rejected');
  if (failure !== undefined) {
    await stop().catch((error: unknown) => {
      log.error({ err: error }, `could not stop after a failed start: ${messageOf(error)}`);
    });
    throw failure.reason;
  }
  return {
    ...(redis === undefined ? {} : { redisUrl: redis.url }),
    ...(mariadb === undefined ? {} : { mysqlUrl: mariadb.url }),
    stop,
  };
}

async function stopAll(servers: readonly (WatchedServer | undefined)[]): Promise<void> {
  const stops = await Promise.allSettled(servers.flatMap((server) => (server === undefined ? [] : [server.stop()])));
  const failure = stops.find((stop) => stop.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}
