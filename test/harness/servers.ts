// Redis and MariaDB processes that belong to one test file, which may stop, kill and start them again on the same port
// with the same data. They are the product's own servers (platform/embedded) without the watch that would bring them back.
import { join } from 'node:path';
import { inject } from 'vitest';
import { mariadbProgram, prepareMariadb } from '../../platform/embedded/mariadb-server.js';
import { writePrivateFile } from '../../platform/embedded/private-files.js';
import type { RedisServerOptions } from '../../platform/embedded/redis-server.js';
import { redisProgram } from '../../platform/embedded/redis-server.js';
import type { ServerProgram } from '../../platform/embedded/server-process.js';
import { startOnFreePort, startServerProcess } from '../../platform/embedded/server-process.js';
import { createLog } from '../../platform/log.js';
import { atEndOfFile } from './cleanup.js';
import { TEST_BUFFER_POOL_MB } from './provided.js';
import { makeScratchFolder } from './scratch.js';

export interface TestServer {
  /** Includes the password; stays the same over restarts. */
  readonly url: string;
  /** Its files, for those who spoil them while it is down. */
  readonly dataFolder: string;
  /** Of the process that was started last. */
  readonly pid: number;
  /** In order; resolves when the process has ended. Done at the end of the file in any case. */
  stop(): Promise<void>;
  /** SIGKILL; resolves when the process has ended. */
  kill(): Promise<void>;
  /** Same port, same data; stops it first if it runs. Resolves when it answers. */
  restart(): Promise<void>;
}

const context = { log: createLog('test', 'silent'), report: (): void => undefined };

/** A Redis with the product's configuration and a password of its own, or what a test is about. */
export async function startTestRedis(
  options: Pick<RedisServerOptions, 'appendfsync' | 'persistence' | 'more'> & { readonly password?: string } = {},
): Promise<TestServer> {
  const dir = await makeScratchFolder('redis');
  if (options.password !== undefined) await writePrivateFile(join(dir, 'redis-password'), options.password);
  const { redis: executable } = inject('executables');
  if (executable === undefined) throw new Error('the global setup provides Redis');
  return start(await redisProgram({ ...options, dir, executable }, context.log));
}

/**
 * A MariaDB of one's own, for tests that stop it; others use `createTestDatabase`. Its account may create databases.
 * Takes about two seconds, most of it for the new data folder.
 */
export async function startTestMariadb(): Promise<TestServer> {
  const dir = await makeScratchFolder('mariadb');
  const { mariadb: executables } = inject('executables');
  if (executables === undefined) throw new Error('the global setup provides MariaDB');
  const options = { dir, executables, mayCreateDatabases: true, bufferPoolMb: TEST_BUFFER_POOL_MB };
  const program = await mariadbProgram(options);
  await prepareMariadb(options, program, context);
  return start(program);
}

async function start(program: ServerProgram): Promise<TestServer> {
  let server = await startOnFreePort(program, context);
  const { port, url } = server;
  const stop = (): Promise<void> => server.stop();
  atEndOfFile(stop);
  return {
    url,
    dataFolder: program.dataFolder,
    get pid() {
      return server.pid;
    },
    stop,
    kill: () => server.kill(),
    restart: async () => {
      await stop();
      server = await startServerProcess(program, port, context);
    },
  };
}
