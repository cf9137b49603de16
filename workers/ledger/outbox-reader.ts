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
/** How long Redis holds a read that finds nothing; also how soon a shard that opens is read. */
const BLOCK_MS = 100;
/** While no shard is open, and after a read that found nothing without waiting; doubled each time up to `BLOCK_MS`. */
const IDLE_PAUSE_MS_MIN = 10;
/** How soon a shard that gets room again is read: sooner than it has written the batches that it still holds. */
const ROOM_PAUSE_MS = 5;

/** `waited`: Redis held the read, and nothing came. `full`: nothing came, and a shard had no room. */
type Outcome = 'found' | 'nothing' | 'waited' | 'full';

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
        const outcome = await this.#readOnce();
        idle = outcome === 'nothing' ? idle + 1 : 0;
        if (idle > 0) await pause(Math.min(IDLE_PAUSE_MS_MIN * 2 ** Math.min(idle - 1, 10), BLOCK_MS), signal);
        if (outcome === 'full') await pause(ROOM_PAUSE_MS, signal);
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

  async #readOnce(): Promise<Outcome> {
    const reads = new Map<string, { shard: ShardLedger; cursor: string }>();
    const open = this.#shards.filter(({ epoch }) => epoch !== undefined);
    for (const shard of open) {
      const cursor = shard.nextRead();
      if (cursor !== undefined) reads.set(outboxKey(shard.shard), { shard, cursor });
    }
    // A read that waits for the other shards would keep one that gets room again waiting, too.
    const full = reads.size < open.length;
    if (reads.size === 0) return full ? 'full' : 'nothing';
    const waits = !full && !isCluster(this.#redis);
    const reply = await this.#read(
      [...reads.keys()],
      [...reads.values()].map(({ cursor }) => cursor),
      waits,
    );
    for (const [key, entries] of reply ?? []) {
      const read = reads.get(key);
      read?.shard.accept(read.cursor, entries);
    }
    if (reply !== null) return 'found';
    if (full) return 'full';
    return waits ? 'waited' : 'nothing';
  }

  async #read(keys: readonly string[], cursors: readonly string[], waits: boolean) {
    const who = ['GROUP', LEDGER_GROUP, this.#consumer] as const;
    const streams = ['STREAMS', ...keys, ...cursors] as const;
    const reply = waits
      ? await this.#redis.xreadgroup(...who, 'COUNT', READ_COUNT, 'BLOCK', BLOCK_MS, ...streams)
      : await this.#redis.xreadgroup(...who, 'COUNT', READ_COUNT, ...streams);
    return reply as [key: string, entries: RawEntry[]][] | null;
  }
}
