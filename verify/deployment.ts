// The deployment under test, in one scratch folder: Redis, MariaDB, two service instances that share them, and a fault
// proxy between each instance and each database. Starts and stops it; what happens to it in between is in faults.ts.
import { randomBytes } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Executable } from '../platform/embedded/executables.js';
import { thisMachine } from '../platform/embedded/executables.js';
import { findFreePort } from '../platform/embedded/free-port.js';
import { mariadbProgram, prepareMariadb } from '../platform/embedded/mariadb-server.js';
import { provideExecutables } from '../platform/embedded/provide-executables.js';
import { redisProgram } from '../platform/embedded/redis-server.js';
import type { ServerProcess, ServerProgram } from '../platform/embedded/server-process.js';
import { startOnFreePort, startServerProcess } from '../platform/embedded/server-process.js';
import type { Log } from '../platform/log.js';
import type { Pool } from '../platform/mysql.js';
import { createMysqlPool } from '../platform/mysql.js';
import type { Redis } from '../platform/redis.js';
import { connectRedis } from '../platform/redis.js';
import { FaultProxy } from './fault-proxy.js';
import { Instance } from './instance.js';
import { killAndCutBack } from './lost-tail.js';
import type { Random } from './random.js';

const INSTANCES = [1, 2] as const;
/** Small, so that claims meet the ceiling while MySQL is away. */
const LEDGER_WINDOW = 100;
const HTTP_WORKERS = 2;
const BUFFER_POOL_MB = 64;
const OBSERVER_TIMEOUT_MS = 5_000;
const OBSERVER_CONNECTIONS = 2;
/** May what the service's account may not, such as making the server read-only (which does not bind it). */
const ROOT_ACCOUNT = 'verify';

/**
 * How much Redis remembers when it is killed: everything that it has answered, all but the last second at the most (its file
 * is cut back, as a machine without power would), or nothing.
 */
export const REDIS_MODES = ['always', 'everysec', 'none'] as const;
export type RedisMode = (typeof REDIS_MODES)[number];

export interface DeploymentOptions {
  /** Everything is below it, logs too. */
  readonly dir: string;
  readonly random: Random;
  readonly redis: RedisMode;
  /** Of Redis, for the level `replica`. */
  readonly replicas: 0 | 1;
  /** A module that every process of the service loads first. */
  readonly preload: string | undefined;
  readonly report: (step: string) => void;
  readonly log: Log;
  readonly signal: AbortSignal;
}

interface DatabaseContext extends Pick<DeploymentOptions, 'log' | 'report'> {
  /** Kills the server and takes away what it is to forget; without it: a kill is all. */
  readonly forget?: (kill: () => Promise<void>) => Promise<void>;
}

/** A database that may be killed and started again on its port, with its data. */
export class Database {
  readonly #program: ServerProgram;
  readonly #context: DatabaseContext;
  #server: ServerProcess;

  private constructor(program: ServerProgram, server: ServerProcess, context: DatabaseContext) {
    this.#program = program;
    this.#server = server;
    this.#context = context;
  }

  static async start(program: ServerProgram, context: DatabaseContext): Promise<Database> {
    return new Database(program, await startOnFreePort(program, context), context);
  }

  get url(): string {
    return this.#server.url;
  }

  get port(): number {
    return this.#server.port;
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.#server.pid, signal);
  }

  async kill(): Promise<void> {
    const kill = (): Promise<void> => this.#server.kill();
    await (this.#context.forget?.(kill) ?? kill());
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  /** Resolves when it answers again. */
  async startAgain(): Promise<void> {
    this.#server = await startServerProcess(this.#program, this.port, this.#context);
  }
}

export interface Proxies {
  readonly redis: FaultProxy;
  readonly mysql: FaultProxy;
}

export interface Deployment {
  readonly redis: Database;
  readonly mysql: Database;
  /** By number, less one. */
  readonly instances: readonly Instance[];
  readonly proxies: readonly Proxies[];
  /** Straight to the databases, as the observer. */
  readonly observer: { readonly redis: Redis; readonly mysql: Pool; readonly root: Pool };
  /** Instances that ended by themselves, so far. */
  readonly surprises: readonly string[];
  /** Ends everything, in order. */
  stop(): Promise<void>;
}

/** Resolves when both instances are started; whether they are ready, `/readyz` says. Stops everything again when it fails. */
export async function deploy(options: DeploymentOptions): Promise<Deployment> {
  const { dir, report, log, random } = options;
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (const one of stops.splice(0).reverse()) await one().catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw new AggregateError(failures, 'could not stop everything');
  };
  try {
    const executables = await provideExecutables({ ...options, redis: true, mysql: true, machine: thisMachine() });
    if (executables.redis === undefined || executables.mariadb === undefined) throw new Error('both were asked for');
    report('Starting Redis and MariaDB');
    const redis = await startRedis(executables.redis, options, stops);
    const rootPassword = randomBytes(16).toString('hex');
    const mariadb = { dir, executables: executables.mariadb, bufferPoolMb: BUFFER_POOL_MB };
    const program = withRootAccount(await mariadbProgram(mariadb), rootPassword);
    await prepareMariadb(mariadb, program, options);
    const mysql = await Database.start(program, options);
    stops.push(() => mysql.stop());

    const observed = connectRedis(redis.url, { kind: 'request', commandTimeoutMs: OBSERVER_TIMEOUT_MS }, log);
    stops.push(() => {
      observed.disconnect();
      return Promise.resolve();
    });
    const rootUrl = new URL(mysql.url);
    [rootUrl.username, rootUrl.password] = [ROOT_ACCOUNT, rootPassword];
    const [reader, root] = [mysql.url, rootUrl.href].map((url) => createMysqlPool(url, OBSERVER_CONNECTIONS));
    if (reader === undefined || root === undefined) throw new Error('two pools were made');
    stops.push(
      () => reader.end(),
      () => root.end(),
    );

    const surprises: string[] = [];
    const proxies: Proxies[] = [];
    const instances: Instance[] = [];
    for (const number of INSTANCES) {
      const own = {
        redis: await FaultProxy.start(redis.port, random),
        mysql: await FaultProxy.start(mysql.port, random),
      };
      proxies.push(own);
      stops.push(
        () => own.redis.stop(),
        () => own.mysql.stop(),
      );
      const instance = new Instance({
        number,
        dir: join(dir, `instance-${number}`),
        port: await findFreePort(),
        adminPort: await findFreePort(),
        adminToken: randomBytes(16).toString('hex'),
        environment: {
          REDIS_URL: withPort(redis.url, own.redis.port),
          MYSQL_URL: withPort(mysql.url, own.mysql.port),
          WEB_CONCURRENCY: String(HTTP_WORKERS),
          LEDGER_WINDOW: String(LEDGER_WINDOW),
          LOG_LEVEL: 'info',
          ...(options.replicas > 0 && { REPLICA_COUNT: String(options.replicas) }),
          ...(options.preload !== undefined && { NODE_OPTIONS: `--import=${pathToFileURL(options.preload).href}` }),
        },
        onSurprise: (what) => surprises.push(what),
      });
      instances.push(instance);
      instance.start();
    }
    // Together, and before the proxies and databases that they need to drain.
    stops.push(() => Promise.all(instances.map((instance) => instance.stop())));
    const observer = { redis: observed, mysql: reader, root };
    return { redis, mysql, instances, proxies, observer, surprises, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The master, and its replica where there is one; both end when `stops` are called. */
async function startRedis(
  executable: Executable,
  options: DeploymentOptions,
  stops: (() => Promise<unknown>)[],
): Promise<Database> {
  const { dir, redis: mode, replicas, log } = options;
  const setting = {
    executable,
    appendfsync: mode === 'always' ? mode : ('everysec' as const),
    persistence: mode !== 'none',
  };
  const program = await redisProgram({ dir, ...setting }, log);
  const forget = (kill: () => Promise<void>): Promise<void> => killAndCutBack(program.dataFolder, kill);
  const master = await Database.start(program, mode === 'everysec' ? { ...options, forget } : options);
  stops.push(() => master.stop());
  if (replicas === 0) return master;
  const { hostname, port, password } = new URL(master.url);
  const more = [`replicaof ${hostname} ${port}`, `masterauth ${password}`];
  const replica = await Database.start(
    await redisProgram({ dir: join(dir, 'replica'), ...setting, more }, log),
    options,
  );
  stops.push(() => replica.stop());
  return master;
}

/** The server makes its accounts from an init file at every start; ours is one more line of it. */
function withRootAccount(program: ServerProgram, password: string): ServerProgram {
  return {
    ...program,
    prepare: async (port) => {
      const args = await program.prepare(port);
      const initFile = args.find((arg) => arg.startsWith('--init-file='))?.slice('--init-file='.length);
      if (initFile === undefined) throw new Error('MariaDB is started without an init file');
      const account = `'${ROOT_ACCOUNT}'@'127.0.0.1'`;
      await appendFile(initFile, `GRANT ALL ON *.* TO ${account} IDENTIFIED BY '${password}';\n`);
      return args;
    },
  };
}

function withPort(url: string, port: number): string {
  const changed = new URL(url);
  changed.port = String(port);
  return changed.href;
}
