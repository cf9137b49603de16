// Gathers the batches of several shards for one transaction. With many shards in use each batch is small, and a transaction has a
// price of its own, to MySQL and to the writer thread, that is as much as a hundred rows. Knows nothing of MySQL.
//
//   waiting   a shard's batch; there is one of a shard at the most.
//   group     what waits is written together, up to `GROUP_MAX`, when a thread is free, and the last group began `PACE_MS` ago or
//             was small, or as much waits as makes a transaction worth its price. So a batch waits for company only while there
//             is some to be had.
//   alone     each batch of a group that cannot be written together; and the batch of a shard whose last one failed: what is
//             the matter with one shard, a lock that somebody holds, must not hold up others again and again.
import { sizeOf } from '../../coupons/outbox.js';
import type { OutboxResult, OutboxTask } from './write-outbox.js';

/** Claims, returns and changes of one transaction, unless one batch holds more. */
const GROUP_MAX = 2_000;
/** A transaction of so many is worth its price. */
const FULL = 500;
/** How often a transaction begins that is not: claims at level `ledger` wait for it. */
const PACE_MS = 10;
/** Of so few there are hardly any more within `PACE_MS`: the next are not made to wait. */
const SMALL = 8;

export interface GroupWriter {
  /** Undefined, with nothing done: they cannot be written together. */
  readonly together: (tasks: readonly OutboxTask[]) => Promise<readonly OutboxResult[] | undefined>;
  readonly alone: (task: OutboxTask) => Promise<OutboxResult>;
}

interface Waiting {
  readonly task: OutboxTask;
  readonly size: number;
  readonly resolve: (result: OutboxResult) => void;
  readonly reject: (reason: unknown) => void;
}

export class GroupCommit {
  readonly #writer: GroupWriter;
  readonly #groupsMax: number;
  #waiting: Waiting[] = [];
  /** Shards whose last batch failed. */
  readonly #failed = new Set<number>();
  #groups = 0;
  /** The last group. */
  #beganAt = -Infinity;
  #beganWith = 0;
  #looking = false;
  #timed = false;

  /** `groupsMax`: as many as can be written at once. */
  constructor(writer: GroupWriter, groupsMax: number) {
    this.#writer = writer;
    this.#groupsMax = groupsMax;
  }

  /** Batches that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Rejects with whatever the writer said. */
  write(task: OutboxTask): Promise<OutboxResult> {
    return new Promise((resolve, reject) => {
      const size = task.entries.reduce((sum, raw) => sum + sizeOf(raw), 0);
      this.#waiting.push({ task, size, resolve, reject });
      this.#lookSoon();
    });
  }

  /** One read of the outbox brings the batches of many shards, one after the other, in one turn of the event loop. */
  #lookSoon(): void {
    if (this.#looking) return;
    this.#looking = true;
    setImmediate(() => {
      this.#looking = false;
      while (this.#mayBegin()) this.#begin();
    });
  }

  #mayBegin(): boolean {
    if (this.#waiting.length === 0 || this.#groups >= this.#groupsMax) return false;
    if (this.#beganWith <= SMALL || sizeOfAll(this.#waiting) >= FULL) return true;
    const leftMs = this.#beganAt + PACE_MS - performance.now();
    if (leftMs <= 0) return true;
    if (!this.#timed) {
      this.#timed = true;
      setTimeout(() => {
        this.#timed = false;
        this.#lookSoon();
      }, leftMs);
    }
    return false;
  }

  #takeGroup(): Waiting[] {
    let [count, size] = [0, 0];
    for (const waiting of this.#waiting) {
      const alone = this.#failed.has(waiting.task.shard);
      if (count > 0 && (alone || size + waiting.size > GROUP_MAX)) break;
      count++;
      size += waiting.size;
      if (alone) break;
    }
    return this.#waiting.splice(0, count);
  }

  #begin(): void {
    const group = this.#takeGroup();
    this.#groups++;
    this.#beganAt = performance.now();
    this.#beganWith = sizeOfAll(group);
    const ended = (): void => {
      this.#groups--;
      this.#lookSoon();
    };
    this.#write(group).then(ended, (error: unknown) => {
      for (const { task, reject } of group) {
        this.#failed.add(task.shard);
        reject(error);
      }
      ended();
    });
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    const results = group.length > 1 ? await this.#writer.together(group.map(({ task }) => task)) : undefined;
    if (results === undefined) await Promise.all(group.map((one) => this.#writeAlone(one)));
    else group.forEach(({ resolve }, i) => resolve(results[i] as OutboxResult));
  }

  async #writeAlone({ task, resolve, reject }: Waiting): Promise<void> {
    try {
      resolve(await this.#writer.alone(task));
      this.#failed.delete(task.shard);
    } catch (error) {
      this.#failed.add(task.shard);
      reject(error);
    }
  }
}

function sizeOfAll(batches: readonly Waiting[]): number {
  return batches.reduce((sum, { size }) => sum + size, 0);
}
