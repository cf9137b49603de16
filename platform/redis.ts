// Connections to Redis, one kind per purpose, because what is right for a claim is wrong for a job. One server and a Redis
// Cluster look alike to the rest of the project, as long as a command names its keys. Nothing else creates an ioredis client.
import { Cluster, Redis as Server } from 'ioredis';
import type { ClusterOptions, RedisOptions } from 'ioredis';
import type { Log } from './log.js';
import { RequestCluster } from './redis-cluster.js';
import { clusterSeeds } from './redis-url.js';

/** A client of whatever REDIS_URL names. */
export type Redis = Server | Cluster;
/** A client of one server: the only one, or a node of the cluster. */
export type RedisServer = Server;

const RECONNECT_DELAY_MS_MIN = 50;
const RECONNECT_DELAY_MS_MAX = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** A connection that is left gets this long to close in peace; a peer that is gone never answers the goodbye. */
const DISCONNECT_TIMEOUT_MS = 200;

/**
 * `request`: a lost connection rejects at once what was in flight, and nothing is ever sent twice or kept for later: the
 *   caller decides what an unknown outcome means. A call that takes longer than `commandTimeoutMs` rejects, and the
 *   connection, which may be half open, is left for a new one.
 * `jobs`: what BullMQ asks of its workers: commands wait for the connection to come back.
 */
export type RedisPurpose = { kind: 'request'; commandTimeoutMs: number } | { kind: 'jobs' };

/**
 * Opens a client that reconnects by itself until `disconnect()`; connection errors go to the log, never to an unhandled
 * event. `url` must be valid (redis-url.ts). Emits `server ready` with the server whenever a connection to one is made.
 */
export function connectRedis(url: string, purpose: RedisPurpose, log: Log): Redis {
  const redis = clusterSeeds(url) === undefined ? connectServer(url, purpose) : connectCluster(url, purpose, log);
  let reported = false;
  redis.on('error', (error: Error) => {
    // One line per outage, not one per attempt.
    if (!reported) log.warn({ err: error }, 'redis connection failed, reconnecting');
    reported = true;
  });
  redis.on('ready', () => {
    if (reported) log.info('redis connection is back');
    reported = false;
  });
  return redis;
}

function connectServer(url: string, purpose: RedisPurpose): Server {
  const redis =
    purpose.kind === 'jobs' ? new Server(url, jobsOptions) : new RequestServer(url, requestOptions(purpose));
  redis.on('ready', () => redis.emit(SERVER_READY, redis));
  return redis;
}

function connectCluster(url: string, purpose: RedisPurpose, log: Log): Cluster {
  const seeds = clusterSeeds(url);
  if (seeds === undefined) throw new Error('not a cluster');
  const { username, password, tls } = seeds;
  const access = { username, password, ...(tls ? { tls: {} } : {}) };
  const nodes = [...seeds.nodes];
  const cluster =
    purpose.kind === 'jobs'
      ? new Cluster(nodes, { ...jobsClusterOptions, redisOptions: { ...jobsOptions, ...access } })
      : new RequestCluster(nodes, reconnectDelay, { ...requestOptions(purpose), ...access }, log);
  cluster.on('+node', (node: Server) => node.on('ready', () => cluster.emit(SERVER_READY, node)));
  return cluster;
}

class RequestServer extends Server {
  override sendCommand(...args: Parameters<Server['sendCommand']>): unknown {
    const reply = super.sendCommand(...args);
    if (reply instanceof Promise) reply.catch(this.#leaveIfSilent);
    return reply;
  }

  readonly #leaveIfSilent = (error: unknown): void => {
    if (error instanceof Error && error.message === 'Command timed out' && this.status === 'ready')
      this.disconnect(true);
  };
}

/** Emitted by every client, with the server, when a connection to it has been made: it may be new, or have lost its data. */
export const SERVER_READY = 'server ready';

function reconnectDelay(attempt: number): number {
  const delay = Math.min(RECONNECT_DELAY_MS_MIN * 2 ** Math.min(attempt, 10), RECONNECT_DELAY_MS_MAX);
  return delay * (0.5 + Math.random() / 2);
}

const sharedOptions: RedisOptions = {
  connectTimeout: CONNECT_TIMEOUT_MS,
  disconnectTimeout: DISCONNECT_TIMEOUT_MS,
  retryStrategy: reconnectDelay,
  // After a demotion the server answers READONLY for ever: leave it, and find the new master.
  reconnectOnError: (error) => error.message.startsWith('READONLY'),
  disableClientInfo: true,
};

const jobsOptions: RedisOptions = { ...sharedOptions, maxRetriesPerRequest: null };

/**
 * In a cluster ioredis counts attempts, two for each delay while a master is away. BullMQ takes a job up again up to a minute
 * after its end could not be written, so commands should outlast a failover: these wait for 30 s.
 */
const jobsClusterOptions: ClusterOptions = {
  clusterRetryStrategy: reconnectDelay,
  // With the check, a connect() that comes while the cluster says it is not whole, as a node that has just started does, never
  // settles: ioredis connects anew and forgets the promise, which BullMQ awaits before it asks for the next job.
  enableReadyCheck: false,
  slotsRefreshInterval: 5_000,
  retryDelayOnFailover: 200,
  retryDelayOnClusterDown: 200,
  maxRedirections: 300,
};

function requestOptions(purpose: { commandTimeoutMs: number }): RedisOptions {
  return {
    ...sharedOptions,
    commandTimeout: purpose.commandTimeoutMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // 0 makes ioredis reject what is in flight at the first close. Without it such promises wait for ever.
    maxRetriesPerRequest: 0,
  };
}

export function isCluster(redis: Redis): redis is Cluster {
  return redis instanceof Cluster;
}

/** The server that has this key now: the one there is, or a master of the cluster; undefined while none is connected. */
export function serverOf(redis: Redis, key: string): RedisServer | undefined {
  const server = redis instanceof RequestCluster ? redis.masterOf(key) : redis;
  if (server instanceof Cluster) throw new Error('only request connections know which server has a key');
  return server?.status === 'ready' ? server : undefined;
}

/** The servers that hold data and are connected now. */
export function mastersOf(redis: Redis): RedisServer[] {
  if (redis.status !== 'ready') return [];
  const servers = redis instanceof Cluster ? redis.nodes('master') : [redis];
  return servers.filter(({ status }) => status === 'ready');
}

/** Whether a command can be sent: to the server, or to any master of the cluster. */
export function redisAnswers(redis: Redis): boolean {
  return mastersOf(redis).length > 0;
}

/** Resolves when `redisAnswers`, rejects after `limitMs`. */
export async function whenRedisReady(redis: Redis, limitMs: number): Promise<void> {
  if (redisAnswers(redis)) return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      redis.off(SERVER_READY, look);
      redis.off('ready', look);
      reject(new Error(`Redis did not answer within ${limitMs} ms`));
    }, limitMs);
    const look = (): void => {
      if (!redisAnswers(redis)) return;
      clearTimeout(timer);
      redis.off(SERVER_READY, look);
      redis.off('ready', look);
      resolve();
    };
    redis.on(SERVER_READY, look);
    redis.on('ready', look);
  });
}
