// The benchmark's own connections to the Redis and the MariaDB of the service: whether the ledger is done, and what the
// servers have counted. Used while nothing is measured, but for the look whether the ledger is done. Writes nothing.
import { setTimeout as delay } from 'node:timers/promises';
import { outboxKey } from '../coupons/keys.js';
import type { Log } from '../platform/log.js';
import type { Pool, RowDataPacket } from '../platform/mysql.js';
import { createMysqlPool } from '../platform/mysql.js';
import type { Redis } from '../platform/redis.js';
import { connectRedis, mastersOf, whenRedisReady } from '../platform/redis.js';
import { redisCpuMicrosIn } from './cpu.js';

const REDIS_TIMEOUT_MS = 5_000;
const OUTBOX_TIMEOUT_MS = 120_000;
/** Of an append-only file with ten million users. */
const REWRITE_TIMEOUT_MS = 600_000;
const POLL_MS = 25;

export interface DatabaseOptions {
  readonly redisUrl: string;
  readonly mysqlUrl: string;
  readonly shardCount: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Since the servers started. */
export interface Counters {
  /** Scripts that Redis has run by their hash: batches of claims, and the few of ledger and jobs. */
  readonly scriptCalls: number;
  /** Transactions: batches of the ledger, and the few of jobs. */
  readonly commits: number;
}

export interface Versions {
  readonly redis: string;
  readonly mariadb: string;
}

/** Scripts run by their hash since the server's start, in the text of `INFO commandstats`; it names no command that was not called. */
export function scriptCallsIn(info: string): number {
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(info)?.[1] ?? 0);
}

export class Databases {
  readonly #redis: Redis;
  readonly #mysql: Pool;
  readonly #shardCount: number;
  readonly #signal: AbortSignal;

  constructor({ redisUrl, mysqlUrl, shardCount, log, signal }: DatabaseOptions) {
    this.#redis = connectRedis(redisUrl, { kind: 'request', commandTimeoutMs: REDIS_TIMEOUT_MS }, log);
    this.#mysql = createMysqlPool(mysqlUrl, 1);
    this.#shardCount = shardCount;
    this.#signal = signal;
  }

  async versions(): Promise<Versions> {
    await whenRedisReady(this.#redis, REDIS_TIMEOUT_MS);
    const redis = /redis_version:(\S+)/.exec((await this.#infoOfRedis('server')).join())?.[1] ?? 'unknown';
    const [rows] = await this.#mysql.query<RowDataPacket[]>('SELECT VERSION() AS version');
    return { redis, mariadb: String(rows[0]?.['version']) };
  }

  /** Resolves when every outbox is empty. Rejects when that takes too long. */
  async whenWritten(): Promise<void> {
    const deadline = Date.now() + OUTBOX_TIMEOUT_MS;
    for (let shard = 0; shard < this.#shardCount; shard++) {
      while ((await this.#redis.xlen(outboxKey(shard))) > 0) {
        if (Date.now() > deadline) throw new Error(`the ledger was not done within ${OUTBOX_TIMEOUT_MS} ms`);
        await delay(POLL_MS, undefined, { signal: this.#signal });
      }
    }
  }

  /** Resolves when Redis has freed what it frees in the background. Rejects when that takes too long. */
  async whenFreed(): Promise<void> {
    const deadline = Date.now() + OUTBOX_TIMEOUT_MS;
    while ((await this.#memory('lazyfree_pending_objects')) !== '0') {
      if (Date.now() > deadline) throw new Error(`Redis had not freed everything within ${OUTBOX_TIMEOUT_MS} ms`);
      await delay(POLL_MS, undefined, { signal: this.#signal });
    }
  }

  /** Resolves when no server rewrites its append-only file. Rejects when that takes too long. */
  async whenNotRewriting(): Promise<void> {
    const deadline = Date.now() + REWRITE_TIMEOUT_MS;
    while (
      (await this.#infoOfRedis('persistence')).some((info) => /aof_rewrite_(in_progress|scheduled):1/.test(info))
    ) {
      if (Date.now() > deadline) throw new Error(`Redis still rewrote its file after ${REWRITE_TIMEOUT_MS} ms`);
      await delay(POLL_MS, undefined, { signal: this.#signal });
    }
  }

  /** Bytes that Redis has allocated. */
  async usedMemory(): Promise<number> {
    return Number(await this.#memory('used_memory'));
  }

  /** As Redis names it: `jemalloc-5.3.0`, … */
  async memoryAllocator(): Promise<string> {
    return await this.#memory('mem_allocator');
  }

  async counters(): Promise<Counters> {
    const stats = await this.#infoOfRedis('commandstats');
    const [rows] = await this.#mysql.query<RowDataPacket[]>("SHOW GLOBAL STATUS LIKE 'Com_commit'");
    return {
      scriptCalls: stats.reduce((sum, one) => sum + scriptCallsIn(one), 0),
      commits: Number(rows[0]?.['Value']),
    };
  }

  /** Of the server there is, or of each master of a cluster. */
  async #infoOfRedis(section: string): Promise<string[]> {
    return await Promise.all(mastersOf(this.#redis).map((server) => server.info(section)));
  }

  /** µs of all processes of Redis since their start, all threads. Finer than /proc, whose clock tick is 10 ms. */
  async redisCpuMicros(): Promise<number> {
    const all = await this.#infoOfRedis('cpu');
    return all.reduce((sum, info) => sum + redisCpuMicrosIn(info), 0);
  }

  /** Of the first server. */
  async #memory(field: string): Promise<string> {
    const [memory = ''] = await this.#infoOfRedis('memory');
    return new RegExp(`^${field}:(\\S+)`, 'm').exec(memory)?.[1] ?? '';
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
    await this.#mysql.end();
  }
}
