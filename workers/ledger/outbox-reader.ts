// Reads the outbox streams of the open shards as one consumer of the group, and hands the entries to the shards. Never
// acknowledges anything.
//
// One server is asked for all shards at once, on a connection that waits for entries. A Redis Cluster takes no read over
// several slots, so there each shard has a reader of its own, which asks again and again without waiting: a read that waits
// would hold up all others of the same master, and one whose master is away holds up nobody.
import { LEDGER_GROUP, outboxKey } from '../../coupons/keys.js';
import type { RawEntry } from '../../coupons/outbox.js';
import type { Log } from '../../platform/log.js';
import type { Redis } from '../../platform/redis.js';
import { isCluster, serverOf } from '../../platform/redis.js';
import { backoff, pause } from './backoff.js';
import type { ShardLedger } from './shard-ledger.js';

/** Entries of one stream in one read; one holds up to 100 claims (lua/include/grants.lua), so this bounds what a read can bring. */
const READ_COUNT = 200;
/** How long Redis holds a read that finds nothing; also how soon a shard that opens or gets room again is read. */
const BLOCK_MS = 100;
/** While no shard is open or has room, and after a read that found nothing without waiting; doubled each time up to `BLOCK_MS`. */
const IDLE_PAUSE_MS_MIN = 10;

/** `redis`: a connection that nobody else uses. */
export function createOutboxReaders(
  redis: Redis,
  consumer: string,
  shards: readonly ShardLedger[],
  log: Log,
): OutboxReader[] {
  if (!isCluster(redis)) return [new OutboxReader(redis, consumer, shards, log)];
  return shards.map((shard) => new OutboxReader(redis, consumer, [shard], log));
}

export class OutboxReader {
  readonly #redis: Redis;
  readonly #consumer: string;
  readonly #shards: readonly ShardLedger[];
  readonly #log: Log;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(redis: Redis, consumer: string, shards: readonly ShardLedger[], log: Log) {
    this.#redis = redis;
    this.#consumer = consumer;
    this.#shards = shards;
    this.#log = log;
  }

  start(): void {
    this.#loop ??= this.#readAll();
  }

  /** Resolves when the read under way has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  async #readAll(): Promise<void> {
    const { signal } = this.#stopping;
    for (let failures = 0, idle = 0; !signal.aborted;) {
      try {
        idle = (await this.#readOnce()) ? 0 : idle + 1;
        if (idle > 0) await pause(Math.min(IDLE_PAUSE_MS_MIN * 2 ** Math.min(idle - 1, 10), BLOCK_MS), signal);
        failures = 0;
      } catch (error) {
        failures++;
        await this.#afterFailure(error);
        await backoff(failures, signal);
      }
    }
  }

  /** What Redis delivered in a reply that never came is pending in our name, so it has to be read again. */
  async #afterFailure(error: unknown): Promise<void> {
    for (const shard of this.#shards) shard.readPendingAgain();
    const forgotten = error instanceof Error && error.message.startsWith('NOGROUP');
    if (!forgotten) {
      this.#log.debug({ err: error }, 'outbox not read');
      return;
    }
    this.#log.warn({ err: error }, 'a consumer group is gone, making it again');
    for (const shard of this.#shards.filter(({ epoch }) => epoch !== undefined)) {
      // At 0, never at $: what is in the stream has not been written. One that is there already says BUSYGROUP; a stream that
      // is gone stays gone, so that the watch sees it and rebuilds the shard.
      // By its server, since in a cluster ioredis does not know that this command has a key.
      await serverOf(this.#redis, outboxKey(shard.shard))
        ?.xgroup('CREATE', outboxKey(shard.shard), LEDGER_GROUP, '0')
        .catch((reason: unknown) => this.#log.debug({ err: reason, shard: shard.shard }, 'group not made'));
    }
  }

  /** False when nothing was found, or there was nothing to ask for, and no time has passed. */
  async #readOnce(): Promise<boolean> {
    const reads = new Map<string, { shard: ShardLedger; cursor: string }>();
    for (const shard of this.#shards) {
      const cursor = shard.nextRead();
      if (cursor !== undefined) reads.set(outboxKey(shard.shard), { shard, cursor });
    }
    if (reads.size === 0) return false;
    const reply = await this.#read(
      [...reads.keys()],
      [...reads.values()].map(({ cursor }) => cursor),
    );
    for (const [key, entries] of reply ?? []) {
      const read = reads.get(key);
      read?.shard.accept(read.cursor, entries);
    }
    return reply !== null || !isCluster(this.#redis);
  }

  async #read(keys: readonly string[], cursors: readonly string[]) {
    const who = ['GROUP', LEDGER_GROUP, this.#consumer] as const;
    const streams = ['STREAMS', ...keys, ...cursors] as const;
    const reply = isCluster(this.#redis)
      ? await this.#redis.xreadgroup(...who, 'COUNT', READ_COUNT, ...streams)
      : await this.#redis.xreadgroup(...who, 'COUNT', READ_COUNT, 'BLOCK', BLOCK_MS, ...streams);
    return reply as [key: string, entries: RawEntry[]][] | null;
  }
}
