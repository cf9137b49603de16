// What the tests of the embedded servers share: a start with quiet defaults, and clients that are closed again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Connection } from '../../../platform/mysql.js';
import { connectMysql } from '../../../platform/mysql.js';
import { createLog } from '../../../platform/log.js';
import type { Redis } from '../../../platform/redis.js';
import { connectRedis, whenRedisReady } from '../../../platform/redis.js';
import { packagePath } from '../../../platform/package-root.js';
import type { EmbeddedServers } from '../../../platform/embedded/servers.js';
import { startEmbeddedServers } from '../../../platform/embedded/servers.js';
import { atEndOfFile } from '../../harness/cleanup.js';

const TIMEOUT_MS = 10_000;
export const silentLog = createLog('test', 'silent');

/** Both servers in `dir`; stopped at the end of the file in any case. */
export async function startBoth(dir: string): Promise<Required<EmbeddedServers>> {
  const servers = await startEmbeddedServers({
    dir,
    redis: true,
    mysql: true,
    report: () => undefined,
    log: silentLog,
    onFailure: (reason) => {
      throw new Error(reason);
    },
  });
  atEndOfFile(() => servers.stop());
  if (servers.redisUrl === undefined || servers.mysqlUrl === undefined) throw new Error('a URL is missing');
  return { redisUrl: servers.redisUrl, mysqlUrl: servers.mysqlUrl, stop: () => servers.stop() };
}

export async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = connectRedis(url, { kind: 'request', commandTimeoutMs: TIMEOUT_MS }, silentLog);
  try {
    await whenRedisReady(redis, TIMEOUT_MS);
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

export async function withMysql<T>(url: string, use: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await connectMysql(url);
  try {
    return await use(connection);
  } finally {
    await connection.end();
  }
}

export interface OtherProcess {
  readonly pid: number;
  /** The first line that it printed. */
  readonly firstLine: string;
  /** SIGKILL; resolves when it has ended. */
  kill(): Promise<void>;
}

/** Runs a module in another Node process, working in `dir`. It imports from the build: `dist` stands for its address. */
export async function startOtherProcess(dir: string, source: string): Promise<OtherProcess> {
  const code = source.replaceAll('dist/', `file://${packagePath('dist')}/`);
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  atEndOfFile(kill);
  const [firstLine] = (await Promise.race([
    once(createInterface(child.stdout), 'line'),
    ended.then(() => {
      throw new Error('the other process ended without a word');
    }),
  ])) as [string];
  return { pid: child.pid ?? 0, firstLine, kill };
}
