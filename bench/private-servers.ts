// Redis and MariaDB of a measurement's own, without a service: the product's servers in a scratch folder, on free loopback
// ports. Who starts one stops it, which removes its folder, too.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { thisMachine } from '../platform/embedded/executables.js';
import { mariadbProgram, prepareMariadb } from '../platform/embedded/mariadb-server.js';
import { provideExecutables } from '../platform/embedded/provide-executables.js';
import type { RedisServerOptions } from '../platform/embedded/redis-server.js';
import { redisProgram } from '../platform/embedded/redis-server.js';
import type { ServerProgram, StartContext } from '../platform/embedded/server-process.js';
import { startOnFreePort } from '../platform/embedded/server-process.js';
import { writePrivateFile } from '../platform/embedded/private-files.js';

export interface PrivateServer {
  readonly pid: number;
  readonly port: number;
  /** Includes the password. */
  readonly url: string;
  stop(): Promise<void>;
}

/** With `password`, for servers that have to know each other; else with one of its own. */
export async function startPrivateRedis(
  options: Pick<RedisServerOptions, 'persistence' | 'more'> & { readonly password?: string },
  context: StartContext,
): Promise<PrivateServer> {
  const { redis: executable } = await provideExecutables({
    ...context,
    redis: true,
    mysql: false,
    machine: thisMachine(),
  });
  if (executable === undefined) throw new Error('Redis was asked for');
  return await startInScratch(context, async (dir) => {
    const { password, ...rest } = options;
    if (password !== undefined) await writePrivateFile(join(dir, 'redis-password'), password);
    return await redisProgram({ ...rest, dir, executable }, context.log);
  });
}

/** An empty one, as durable as the service's own. Takes about two seconds, most of it for the data folder. */
export async function startPrivateMariadb(context: StartContext): Promise<PrivateServer> {
  const { mariadb: executables } = await provideExecutables({
    ...context,
    redis: false,
    mysql: true,
    machine: thisMachine(),
  });
  if (executables === undefined) throw new Error('MariaDB was asked for');
  return await startInScratch(context, async (dir) => {
    const program = await mariadbProgram({ dir, executables });
    await prepareMariadb({ dir, executables }, program, context);
    return program;
  });
}

async function startInScratch(
  context: StartContext,
  programIn: (dir: string) => Promise<ServerProgram>,
): Promise<PrivateServer> {
  const dir = await mkdtemp(join(tmpdir(), 'stampede-bench-'));
  const remove = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    const server = await startOnFreePort(await programIn(dir), context);
    const { pid, port, url } = server;
    return { pid, port, url, stop: async () => server.stop().finally(remove) };
  } catch (error) {
    await remove();
    throw error;
  }
}
