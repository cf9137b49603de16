// Connections to Redis, one kind per purpose, because what is right for a claim is wrong for a job.
// Nothing else in the project creates an ioredis client.
import { Redis } from 'ioredis';
import type { RedisOptions } from 'ioredis';
import type { Log } from './log.js';

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

/** Opens a client that reconnects by itself until `disconnect()`; connection errors go to the log, never to an unhandled event. */
export function connectRedis(url: string, purpose: RedisPurpose, log: Log): Redis {
  const redis = purpose.kind === 'jobs' ? new Redis(url, jobsOptions) : new RequestRedis(url, requestOptions(purpose));
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

class RequestRedis extends Redis {
  override sendCommand(...args: Parameters<Redis['sendCommand']>): unknown {
    const reply = super.sendCommand(...args);
    if (reply instanceof Promise) reply.catch(this.#leaveIfSilent);
    return reply;
  }

  readonly #leaveIfSilent = (error: unknown): void => {
    if (error instanceof Error && error.message === 'Command timed out' && this.status === 'ready')
      this.disconnect(true);
  };
}

const sharedOptions: RedisOptions = {
  connectTimeout: CONNECT_TIMEOUT_MS,
  disconnectTimeout: DISCONNECT_TIMEOUT_MS,
  retryStrategy: (attempt) =>
    Math.min(RECONNECT_DELAY_MS_MIN * 2 ** Math.min(attempt, 10), RECONNECT_DELAY_MS_MAX) * (0.5 + Math.random() / 2),
  // After a demotion the server answers READONLY for ever: leave it, and find the new master.
  reconnectOnError: (error) => error.message.startsWith('READONLY'),
  disableClientInfo: true,
};

const jobsOptions: RedisOptions = { ...sharedOptions, maxRetriesPerRequest: null };

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

/** Resolves when the client can send, rejects after `limitMs`. */
export async function whenRedisReady(redis: Redis, limitMs: number): Promise<void> {
  if (redis.status === 'ready') return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      redis.off('ready', done);
      reject(new Error(`Redis did not answer within ${limitMs} ms`));
    }, limitMs);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    redis.once('ready', done);
  });
}
