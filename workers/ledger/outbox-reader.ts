// Reads the outbox streams of all open shards as one consumer of the group, on one blocking connection, and hands the
// entries to the shards. Never acknowledges anything.
import { LEDGER_GROUP, outboxKey } from '../../coupons/keys.js';
import type { RawEntry } from '../../coupons/outbox.js';
import type { Log } from '../../platform/log.js';
import type { Redis } from '../../platform/redis.js';
import { backoff, pause } from './backoff.js';
import type { ShardLedger } from './shard-ledger.js';

/** Entries of one stream in one read. */
const READ_COUNT = 2_000;
/** How long Redis holds a read that finds nothing; also how soon a shard that opens or gets room again is read. */
const BLOCK_MS = 100;
/** While no shard is open or has room. */
const IDLE_PAUSE_MS = 20;

export class OutboxReader {
  readonly #redis: Redis;
  readonly #consumer: string;
  readonly #shards: readonly ShardLedger[];
  readonly #log: Log;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  /** `redis`: a connection that nobody else uses, since each read holds it for up to `BLOCK_MS`. */
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
    for (let failures = 0; !signal.aborted;) {
      try {
        if (!(await this.#readOnce())) await pause(IDLE_PAUSE_MS, signal);
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
      // At 0, never at $: what is in the stream has not been written. One that is there already says BUSYGROUP.
      await this.#redis
        .xgroup('CREATE', outboxKey(shard.shard), LEDGER_GROUP, '0', 'MKSTREAM')
        .catch((reason: unknown) => this.#log.debug({ err: reason, shard: shard.shard }, 'group not made'));
    }
  }

  /** False when there was nothing to ask for. */
  async #readOnce(): Promise<boolean> {
    const reads = new Map<string, { shard: ShardLedger; cursor: string }>();
    for (const shard of this.#shards) {
      const cursor = shard.nextRead();
      if (cursor !== undefined) reads.set(outboxKey(shard.shard), { shard, cursor });
    }
    if (reads.size === 0) return false;
    const streams = [...reads.keys(), ...[...reads.values()].map((read) => read.cursor)];
    const reply = (await this.#redis.xreadgroup(
      'GROUP',
      LEDGER_GROUP,
      this.#consumer,
      'COUNT',
      READ_COUNT,
      'BLOCK',
      BLOCK_MS,
      'STREAMS',
      ...streams,
    )) as [key: string, entries: RawEntry[]][] | null;
    for (const [key, entries] of reply ?? []) {
      const read = reads.get(key);
      read?.shard.accept(read.cursor, entries);
    }
    return true;
  }
}
