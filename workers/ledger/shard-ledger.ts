// The ledger's side of one shard: takes entries of the outbox, writes what they hold to MySQL batch by batch, one at a time, and
// acknowledges what is committed, as a row or as a dead letter. One batch may be acknowledged while the next is written. An entry
// that holds several claims is never divided between two batches, and is taken apart by the writer thread only: a copy for it of
// every claim by itself was dearer than all else that is done here.
//
//   closed   holds nothing: entries that it had been given stay pending in Redis and come again.
//   open     under one epoch. Accepts entries up to a limit; what fails, a write or an acknowledgement, is tried again, with
//            backoff, until it succeeds or the shard is closed. MySQL or Redis telling of another epoch closes it.
import type { GrantEntry, RawEntry } from '../../coupons/outbox.js';
import { parseEntry, sizeOf } from '../../coupons/outbox.js';
import type { Scripts } from '../../lua/scripts.js';
import type { Log } from '../../platform/log.js';
import type { Redis } from '../../platform/redis.js';
import { acknowledge } from './acknowledge.js';
import { backoff, pause } from './backoff.js';
import type { OutboxResult } from './write-outbox.js';
import type { WriteOutbox } from './writer-pool.js';

/** Claims, returns and changes of one transaction, unless one entry holds more: what it costs whatever its size is 2 ms, as much as 400 rows (MariaDB 10.11, two cores). */
const BATCH_MAX = 5_000;
/** Entries of one transaction: Redis takes all of them out in one step, at some 2 µs each, and serves nobody meanwhile. */
const BATCH_ENTRIES_MAX = 2_000;
/** No more is read while this much is queued, the next batch; one more read may come on top (outbox-reader.ts). */
const QUEUE_MAX = BATCH_MAX;

/** A return whose claim another ledger has in hand is tried again after this long: that ledger writes within milliseconds. */
const EARLY_PAUSE_MS = 50;
/** After this long it becomes a dead letter. The claim of a dead ledger is taken over within 35 s (shard-watch.ts). */
const EARLY_MS_MAX = 60_000;

export interface ShardLedgerContext {
  readonly redis: Redis;
  readonly scripts: Scripts;
  readonly writeOutbox: WriteOutbox;
  readonly ledgerWindow: number;
  readonly log: Log;
  /** Milliseconds by a clock that never runs backwards; `performance.now` by default. */
  readonly now?: () => number;
}

/** A batch that is committed and may leave the outbox. */
type Written = Extract<OutboxResult, { status: 'written' }> & { readonly epoch: number };

export class ShardLedger {
  readonly shard: number;
  readonly #context: ShardLedgerContext;
  #epoch: number | undefined;
  #queue: RawEntry[] = [];
  /** Claims, returns and changes in the queue. */
  #queued = 0;
  /** Taken from the queue and not acknowledged yet: the batch that is being written, and the one before. */
  readonly #underWay = new Set<readonly RawEntry[]>();
  #leftovers: GrantEntry[] = [];
  #closing = new AbortController();
  #writing: Promise<void> | undefined;
  /** Of the last batch that was written. */
  #acknowledging: Promise<void> = Promise.resolve();
  /** Entries that were left in the outbox, a return that came before its claim each: since when, by `now`. */
  readonly #early = new Map<string, number>();
  /** Where the next read begins: an id in what was delivered to us before, or '>' for what is new. */
  #cursor = '0';
  #rereadPending = false;

  constructor(shard: number, context: ShardLedgerContext) {
    this.shard = shard;
    this.#context = context;
  }

  /** Undefined while closed. */
  get epoch(): number | undefined {
    return this.#epoch;
  }

  /** Nothing is queued, being written or being acknowledged. */
  get idle(): boolean {
    return this.#queue.length === 0 && this.#writing === undefined && this.#underWay.size === 0;
  }

  open(epoch: number): void {
    if (this.#epoch !== undefined) throw new Error(`shard ${this.shard} is open already`);
    this.#epoch = epoch;
    this.#closing = new AbortController();
    this.#early.clear();
    this.#cursor = '0';
  }

  /** Resolves when no write and no acknowledgement is under way any more. */
  async close(): Promise<void> {
    this.#abandon();
    await this.#writing;
    await this.#acknowledging;
  }

  /** Claims that it had read and not acknowledged when it was closed: a Redis that forgets may have lost them. */
  get leftovers(): readonly GrantEntry[] {
    return this.#leftovers;
  }

  forgetLeftovers(): void {
    this.#leftovers = [];
  }

  /** The id to read after, or undefined while there is no room. */
  nextRead(): string | undefined {
    if (this.#epoch === undefined || this.#queued >= QUEUE_MAX) return undefined;
    if (this.#rereadPending) {
      // Nothing new until what is under way is done: on a busy shard there would never be a good moment.
      if (!this.idle) return undefined;
      this.#rereadPending = false;
      this.#cursor = '0';
    }
    return this.#cursor;
  }

  /**
   * There may be entries pending in our name that we do not hold: left behind by another consumer, or lost on the way in a
   * read that failed. They are read next, as soon as nothing is under way.
   */
  readPendingAgain(): void {
    this.#rereadPending = true;
  }

  /** What a read after `cursor` gave. An answer to an old cursor is dropped: those entries stay pending. */
  accept(cursor: string, entries: readonly RawEntry[]): void {
    if (this.#epoch === undefined || cursor !== this.#cursor) return;
    // What was delivered before ends with an empty page; from there on only what is new.
    if (cursor !== '>') this.#cursor = entries.at(-1)?.[0] ?? '>';
    for (const raw of entries) {
      if (raw[1] === null) continue;
      this.#queue.push(raw);
      this.#queued += sizeOf(raw);
    }
    if (this.#queue.length > 0) this.#writing ??= this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    const { signal } = this.#closing;
    while (this.#queue.length > 0 && !signal.aborted) {
      const batch = this.#takeBatch();
      this.#underWay.add(batch);
      const written = await this.#untilDone('written', batch, signal, () => this.#write(batch));
      // In the order of the stream, and no more than one batch behind.
      await this.#acknowledging;
      if (written === undefined) break;
      this.#acknowledging = this.#untilDone('acknowledged', batch, signal, () => this.#acknowledge(written)).then(
        () => {
          this.#underWay.delete(batch);
        },
      );
      this.#noteEarly(batch, written.early);
      if (written.early.length > 0) {
        await pause(EARLY_PAUSE_MS, signal);
        this.readPendingAgain();
      }
    }
    // In the same turn as the last look at the queue, so that nothing is accepted in between and forgotten.
    this.#writing = undefined;
  }

  #takeBatch(): RawEntry[] {
    let [entries, size] = [0, 0];
    for (const raw of this.#queue) {
      const more = sizeOf(raw);
      if (entries === BATCH_ENTRIES_MAX || (entries > 0 && size + more > BATCH_MAX)) break;
      entries++;
      size += more;
    }
    this.#queued -= size;
    return this.#queue.splice(0, entries);
  }

  /** Undefined when the shard was closed before `step` succeeded. */
  async #untilDone<T>(
    what: string,
    batch: readonly RawEntry[],
    signal: AbortSignal,
    step: () => Promise<T>,
  ): Promise<T | undefined> {
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        return await step();
      } catch (error) {
        const context = { err: error, shard: this.shard, entries: batch.length, attempt };
        this.#context.log.warn(context, `batch not ${what}, trying again`);
        await backoff(attempt, signal);
      }
    }
    return undefined;
  }

  /** Undefined when the shard is closed, or was closed by what MySQL said. */
  async #write(entries: readonly RawEntry[]): Promise<Written | undefined> {
    const epoch = this.#epoch;
    if (epoch === undefined) return undefined;
    const { writeOutbox, ledgerWindow } = this.#context;
    const overdue = this.#overdueAmong(entries);
    const result = await writeOutbox({ shard: this.shard, epoch, entries, ledgerWindow, leaveEarly: true, overdue });
    if (result.status === 'stale_epoch') {
      this.#lose('MySQL has a newer epoch');
      return undefined;
    }
    for (const { entry, reason } of result.refused) {
      this.#context.log.error({ shard: this.shard, entry, reason }, 'outbox entry put aside as a dead letter');
    }
    return { ...result, epoch };
  }

  /** Each by itself: what else the shard writes meanwhile says nothing of a claim that does not come. */
  #overdueAmong(entries: readonly RawEntry[]): string[] {
    const limit = this.#now() - EARLY_MS_MAX;
    return entries.map(([id]) => id).filter((id) => (this.#early.get(id) ?? Infinity) <= limit);
  }

  #noteEarly(entries: readonly RawEntry[], early: readonly string[]): void {
    const since = early.map((id) => [id, this.#early.get(id) ?? this.#now()] as const);
    for (const [id] of entries) this.#early.delete(id);
    for (const [id, at] of since) this.#early.set(id, at);
  }

  #now(): number {
    return this.#context.now?.() ?? performance.now();
  }

  async #acknowledge({ epoch, ids, coupons, foreign }: Written): Promise<void> {
    const { redis, scripts, log } = this.#context;
    const gone = [...ids, ...foreign];
    const acknowledged = { shard: this.shard, epoch, state: 'open', ids: gone, coupons } as const;
    if (!(await acknowledge(redis, scripts, acknowledged))) this.#lose('the fence has moved');
    else if (foreign.length > 0)
      log.error({ shard: this.shard, entries: foreign }, 'outbox entries of another epoch dropped');
  }

  /** Another epoch: whoever watches the shards finds it closed, and rebuilds it or opens it again. */
  #lose(why: string): void {
    this.#context.log.warn({ shard: this.shard, epoch: this.#epoch }, `shard closed: ${why}`);
    this.#abandon();
  }

  #abandon(): void {
    if (this.#epoch !== undefined) {
      const held = [...this.#underWay, this.#queue].flat().flatMap(parseEntry);
      this.#leftovers.push(...held.filter((entry) => entry.kind === 'grant'));
    }
    this.#epoch = undefined;
    this.#underWay.clear();
    this.#queue = [];
    this.#queued = 0;
    this.#closing.abort();
  }
}
