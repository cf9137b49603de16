// The real service for the benchmark: `stampede start` on free ports with embedded servers in a scratch folder. Knows its
// processes and how to create a coupon; stops it and removes the folder in the end.
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findFreePort } from '../platform/embedded/free-port.js';
import { findRecorded, stopRecorded } from '../platform/embedded/process-record.js';
import type { Log } from '../platform/log.js';
import { packagePath } from '../platform/package-root.js';
import type { Counters, Versions } from './databases.js';
import { Databases } from './databases.js';

const READY_LINE = 'stampede ready';
const START_ATTEMPTS_MAX = 3;
const READY_TIMEOUT_MS = 120_000;
/** Longer than the drain of all roles together takes at the most. */
const STOP_TIMEOUT_MS = 90_000;
/** For a second wish, and for servers left behind. */
const HURRY_TIMEOUT_MS = 15_000;
/** An audit reads every row. */
const ADMIN_TIMEOUT_MS = 300_000;
const POLL_MS = 25;
const OUTPUT_CHARACTERS_MAX = 4_000;
export const SHARD_COUNT = 16;

/**
 * Settings of a service that rather is slow than refuses a claim, where refusals are not what is measured: on a machine that is
 * busy elsewhere the event loop of a worker is late.
 */
export const PATIENT = { LOOP_DELAY_MAX_MS: '60000' } as const;

export type ProcessKind = 'http' | 'redis' | 'ledger' | 'mariadb' | 'admin' | 'primary';

export interface ServiceOptions {
  readonly workers: number;
  /** Of the primary, inherited by its workers. */
  readonly execArgv: readonly string[];
  /** The Node that runs it; default: this one. */
  readonly node?: string;
  /** Settings of the service beyond those that every measurement has. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface Service {
  readonly url: string;
  /** Of a Redis that `environment` names there is none. */
  readonly pids: Readonly<Record<ProcessKind, readonly number[]>>;
  /** REDIS_URL and MYSQL_URL of its embedded servers. */
  readonly databaseUrls: { readonly REDIS_URL: string; readonly MYSQL_URL: string };
  /** Of the diagnostics agents of its processes. */
  readonly socketFolder: string;
  readonly databases: Databases;
  readonly versions: Versions;
  /** Resolves when every claim that was granted is a row in MySQL. */
  whenWritten(): Promise<void>;
  /** µs that its Redis has used since its start. */
  redisCpuMicros(): Promise<number>;
  counters(): Promise<Counters>;
  /** `ack`: acknowledgement level; default: that of the service. */
  createCoupon(couponId: string, total: number, ack?: string): Promise<void>;
  /** The body of the answer of the admin API. Rejects on any but a 2xx. */
  admin(method: 'GET' | 'POST' | 'PATCH', path: string, body?: object): Promise<string>;
  /** Rolling, as on SIGHUP; resolves nothing: the service says itself how far it is. */
  reload(): void;
  stop(): Promise<void>;
}

/**
 * Resolves when the service is ready. Whatever was started is stopped again when that fails. Its ports are free when they
 * are chosen and used seconds later: if somebody was quicker, it is started again on others.
 */
export async function startService(options: ServiceOptions): Promise<Service> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(options);
    } catch (error) {
      if (!(error instanceof PortTaken) || attempt === START_ATTEMPTS_MAX) throw error;
    }
  }
}

class PortTaken extends Error {}

async function startOnce({ workers, execArgv, node, environment, log, signal }: ServiceOptions): Promise<Service> {
  const dir = await mkdtemp(join(tmpdir(), 'stampede-bench-'));
  let child: ChildProcess | undefined;
  let databases: Databases | undefined;
  const stop = async (): Promise<void> => {
    try {
      await databases?.close();
    } finally {
      try {
        if (child !== undefined) await stopService(child, dir, log);
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    }
  };
  try {
    const [port, adminPort] = [await findFreePort(), await findFreePort()];
    const adminToken = randomBytes(16).toString('hex');
    const primary = spawn(node ?? process.execPath, [...execArgv, packagePath('bin', 'stampede.js'), 'start'], {
      cwd: dir,
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        PORT: String(port),
        ADMIN_PORT: String(adminPort),
        ADMIN_TOKEN: adminToken,
        STAMPEDE_DIR: dir,
        WEB_CONCURRENCY: String(workers),
        SHARD_COUNT: String(SHARD_COUNT),
        // A claim on a machine that is busy elsewhere is slow, and is to be measured, not refused.
        CLAIM_TIMEOUT_MS: '30000',
        ...environment,
      },
      // A group of its own: a Ctrl-C in the terminal reaches the benchmark alone.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = primary;
    await whenReady(primary, signal);
    const { pids, redisUrl, mysqlUrl } = processesOf(primary, dir);
    const own = Object.entries(pids).filter(([kind]) => kind !== 'redis' || environment?.['REDIS_URL'] === undefined);
    if (own.some(([, list]) => list.length === 0)) {
      throw new Error(`not every process of the service was found: ${JSON.stringify(pids)}`);
    }
    const shardCount = Number(environment?.['SHARD_COUNT'] ?? SHARD_COUNT);
    const opened = new Databases({ redisUrl, mysqlUrl, shardCount, log, signal });
    databases = opened;
    const admin: Service['admin'] = async (method, path, body) => askAdmin(adminPort, adminToken, method, path, body);
    return {
      url: `http://127.0.0.1:${port}`,
      pids,
      databaseUrls: { REDIS_URL: redisUrl, MYSQL_URL: mysqlUrl },
      socketFolder: join(dir, 'run'),
      databases: opened,
      versions: await opened.versions(),
      whenWritten: () => opened.whenWritten(),
      counters: () => opened.counters(),
      redisCpuMicros: () => opened.redisCpuMicros(),
      createCoupon: async (couponId, total, ack) => {
        await admin('POST', '/v1/coupons', { couponId, total, ...(ack !== undefined && { ack }) });
      },
      admin,
      reload: () => primary.kill('SIGHUP'),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function whenReady(child: ChildProcess, signal: AbortSignal): Promise<void> {
  let output = '';
  const append = (text: string): void => {
    output = (output + text).slice(-OUTPUT_CHARACTERS_MAX);
  };
  // A kill that fails is an `error`, too.
  child.on('error', ({ message }) => append(message));
  child.stdout?.setEncoding('utf8').on('data', append);
  child.stderr?.setEncoding('utf8').on('data', append);
  // Rejects with the `error` of a program that cannot be run.
  await once(child, 'spawn', { signal });
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!output.includes(READY_LINE)) {
    if (hasEnded(child)) {
      const message = `the service ended during its start:\n${output}`;
      throw output.includes('another program listens') ? new PortTaken(message) : new Error(message);
    }
    if (Date.now() > deadline) throw new Error(`the service was not ready after ${READY_TIMEOUT_MS} ms:\n${output}`);
    await delay(POLL_MS, undefined, { signal });
  }
}

interface Found {
  readonly pids: Service['pids'];
  readonly redisUrl: string;
  readonly mysqlUrl: string;
}

/** The workers are the primary's children, and their environment tells their roles and the URLs of the servers. */
function processesOf(primary: ChildProcess, dir: string): Found {
  const workers = childrenOf(primary.pid ?? 0).flatMap((pid) => {
    const environment = new Map(
      readFileSync(`/proc/${pid}/environ`, 'utf8')
        .split('\0')
        .map((variable) => [variable.slice(0, variable.indexOf('=')), variable.slice(variable.indexOf('=') + 1)]),
    );
    const role = environment.get('STAMPEDE_ROLE');
    const [redisUrl, mysqlUrl] = [environment.get('REDIS_URL'), environment.get('MYSQL_URL')];
    return role === undefined ? [] : [{ pid, role, redisUrl, mysqlUrl }];
  });
  const ofRole = (role: string): number[] => workers.filter((worker) => worker.role === role).map(({ pid }) => pid);
  const recorded = (name: string): number[] => [findRecorded(recordFile(dir, name))?.pid ?? []].flat();
  const pids = {
    http: ofRole('http'),
    redis: recorded('redis'),
    ledger: ofRole('ledger'),
    mariadb: recorded('mariadb'),
    admin: ofRole('admin'),
    primary: [primary.pid ?? 0],
  };
  const { redisUrl, mysqlUrl } = workers[0] ?? {};
  if (redisUrl === undefined || mysqlUrl === undefined) throw new Error('no worker was found');
  return { pids, redisUrl, mysqlUrl };
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
      } catch {
        // Ended meanwhile.
        return false;
      }
    });
}

async function askAdmin(port: number, token: string, method: string, path: string, body?: object): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
    signal: AbortSignal.timeout(ADMIN_TIMEOUT_MS),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status} ${answer}`);
  return answer;
}

/** In order; what does not end in time is hurried, then killed, its servers last. */
async function stopService(child: ChildProcess, dir: string, log: Log): Promise<void> {
  child.kill('SIGTERM');
  if (await endsWithin(child, STOP_TIMEOUT_MS)) return;
  child.kill('SIGTERM');
  if (await endsWithin(child, HURRY_TIMEOUT_MS)) return;
  child.kill('SIGKILL');
  for (const name of ['redis', 'mariadb']) await stopRecorded(recordFile(dir, name), HURRY_TIMEOUT_MS, log);
}

function recordFile(dir: string, server: string): string {
  return join(dir, 'run', `${server}.json`);
}

async function endsWithin(child: ChildProcess, limitMs: number): Promise<boolean> {
  if (hasEnded(child)) return true;
  return await once(child, 'exit', { signal: AbortSignal.timeout(limitMs) }).then(
    () => true,
    () => false,
  );
}

function hasEnded(child: ChildProcess): boolean {
  // What has no number could not be run.
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}
