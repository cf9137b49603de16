// Redis and MariaDB of a measurement's own, without a service: the product's servers in a scratch folder, on free loopback
// ports. Who starts one stops it, which removes its folder, too.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { thisMachine } from '../platform/embedded/executables.js';
import { mariadbProgram, prepareMariadb } from '../platform/embedded/mariadb-server.js';
import { provideExecutables } from '../platform/embedded/provide-executables.js';
import type { RedisServerOptions } from '../platform/embedded/redis-server.js';
import { redisProgram } from '../platform/embedded/redis-server.js';
import type { ServerProgram, StartContext } from '../platform/embedded/server-process.js';
import { startOnFreePort } from '../platform/embedded/server-process.js';
import { writePrivateFile } from '../platform/embedded/private-files.js';
import { connectRedis, whenRedisReady } from '../platform/redis.js';

const IN_STEP_TIMEOUT_MS = 30_000;
const POLL_MS = 25;

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

/** On the same machine, as durable as its master. Resolves when it is in step. */
export async function startPrivateReplica(master: PrivateServer, context: StartContext): Promise<PrivateServer> {
  const password = decodeURIComponent(new URL(master.url).password);
  const more = [`replicaof 127.0.0.1 ${master.port}`, `masterauth ${password}`];
  const replica = await startPrivateRedis({ password, more }, context);
  try {
    await whenInStep(replica, context);
    return replica;
  } catch (error) {
    await replica.stop();
    throw error;
  }
}

async function whenInStep({ url }: PrivateServer, { log, signal }: StartContext): Promise<void> {
  const redis = connectRedis(url, { kind: 'request', commandTimeoutMs: IN_STEP_TIMEOUT_MS }, log);
  try {
    await whenRedisReady(redis, IN_STEP_TIMEOUT_MS);
    const deadline = Date.now() + IN_STEP_TIMEOUT_MS;
    while (!(await redis.info('replication')).includes('master_link_status:up')) {
      if (Date.now() > deadline) throw new Error(`a replica was not in step after ${IN_STEP_TIMEOUT_MS} ms`);
      await delay(POLL_MS, undefined, { signal });
    }
  } finally {
    redis.disconnect();
  }
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
