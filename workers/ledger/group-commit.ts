// Gathers the batches of several shards for one transaction. With many shards in use each batch is small, and a transaction has a
// price of its own, to MySQL and to the writer thread, that is as much as a hundred rows. Knows nothing of MySQL.
//
//   waiting   a shard's batch; there is one of a shard at the most. It is due when the last transaction began `PACE_MS` before, at
//             once when that one was small: so it waits for company, and for more claims of its own, only while there are some
//             to be had. Where users wait for the rows, more of its own are no reason: they only come when these are written.
//   group     when one that waits is due, or as much waits as makes a transaction worth its price, and a thread is free: what waits
//             and holds new claims alone is written together, up to `GROUP_MAX`.
//   alone     a batch with anything else in it, which MySQL has to be asked about; each batch of a group that could not be written
//             together; and the batch of a shard whose last one failed: what is the matter with one shard, a lock that
//             somebody holds, must not hold up others again and again. One thread is kept free of these.
import { holdsNewClaims, sizeOf } from '../../coupons/outbox.js';
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

export interface GroupCommitOptions {
  /** Transactions that can be under way at once. */
  readonly groupsMax: number;
  /** Users are answered when their rows are written: the acknowledgement level is `ledger`. */
  readonly rowsAwaited: boolean;
}

interface Waiting {
  readonly task: OutboxTask;
  readonly size: number;
  readonly alone: boolean;
  /** The last batch of its shard did. */
  readonly failed: boolean;
  /** By `performance.now()`. */
  readonly dueAt: number;
  readonly resolve: (result: OutboxResult) => void;
  readonly reject: (reason: unknown) => void;
}

export class GroupCommit {
  readonly #writer: GroupWriter;
  readonly #groupsMax: number;
  readonly #rowsAwaited: boolean;
  #waiting: Waiting[] = [];
  /** Shards whose last batch failed. */
  readonly #failed = new Set<number>();
  #groups = 0;
  /** Those of them that are of a shard whose last batch failed. */
  #retries = 0;
  /** The last transaction. */
  #beganAt = -Infinity;
  #beganWith = 0;
  /** The shard that it is of, where it is of one only. */
  #beganFor: number | undefined;
  #looking = false;
  #timed = false;

  constructor(writer: GroupWriter, { groupsMax, rowsAwaited }: GroupCommitOptions) {
    this.#writer = writer;
    this.#groupsMax = groupsMax;
    this.#rowsAwaited = rowsAwaited;
  }

  /** Batches that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Rejects with whatever the writer said. */
  write(task: OutboxTask): Promise<OutboxResult> {
    return new Promise((resolve, reject) => {
      const size = task.entries.reduce((sum, raw) => sum + sizeOf(raw), 0);
      const failed = this.#failed.has(task.shard);
      const alone = failed || !task.entries.every((raw) => holdsNewClaims(raw, task.epoch));
      const dueAt = this.#dueAt(task.shard);
      this.#waiting.push({ task, size, alone, failed, dueAt, resolve, reject });
      this.#lookSoon();
    });
  }

  #dueAt(shard: number): number {
    const noCompany = this.#beganFor === shard && this.#waiting.length === 0;
    if (this.#beganWith <= SMALL || (this.#rowsAwaited && noCompany)) return performance.now();
    return this.#beganAt + PACE_MS;
  }

  /** One read of the outbox brings the batches of many shards, one after the other, in one turn of the event loop. */
  #lookSoon(): void {
    if (this.#looking) return;
    this.#looking = true;
    setImmediate(() => {
      this.#looking = false;
      this.#look();
    });
  }

  #look(): void {
    while (this.#groups < this.#groupsMax) {
      const group = this.#nextGroup();
      if (group === undefined) break;
      this.#begin(group);
    }
    // When a thread is free again there is another look.
    if (this.#groups < this.#groupsMax) this.#lookWhenDue();
  }

  #lookWhenDue(): void {
    const waiting = this.#waiting.filter((one) => this.#hasThread(one));
    if (this.#timed || waiting.length === 0) return;
    this.#timed = true;
    const dueAt = Math.min(...waiting.map((one) => one.dueAt));
    setTimeout(() => {
      this.#timed = false;
      this.#lookSoon();
    }, dueAt - performance.now());
  }

  /** In the order in which they came, but that the first of a group brings all others of it along. */
  #nextGroup(): readonly Waiting[] | undefined {
    const now = performance.now();
    const mayBegin = (group: readonly Waiting[]): boolean =>
      sizeOfAll(group) >= FULL || group.some(({ dueAt }) => dueAt <= now);
    const company = this.#company();
    const together = mayBegin(company);
    const first = this.#waiting.find((one) => (one.alone ? this.#hasThread(one) && mayBegin([one]) : together));
    if (first === undefined) return undefined;
    return first.alone ? [first] : company;
  }

  /** While any is free: a shard that failed may keep its thread waiting, and the last one is for the others. */
  #hasThread({ failed }: Waiting): boolean {
    return !failed || this.#retries < Math.max(1, this.#groupsMax - 1);
  }

  /** What may be written together. */
  #company(): readonly Waiting[] {
    const company: Waiting[] = [];
    let size = 0;
    for (const waiting of this.#waiting) {
      if (waiting.alone) continue;
      if (company.length > 0 && size + waiting.size > GROUP_MAX) break;
      company.push(waiting);
      size += waiting.size;
    }
    return company;
  }

  #begin(group: readonly Waiting[]): void {
    const begun = new Set(group);
    this.#waiting = this.#waiting.filter((waiting) => !begun.has(waiting));
    const retries = group.some(({ failed }) => failed) ? 1 : 0;
    this.#groups++;
    this.#retries += retries;
    this.#beganAt = performance.now();
    this.#beganWith = sizeOfAll(group);
    this.#beganFor = group.length === 1 ? group[0]?.task.shard : undefined;
    const ended = (): void => {
      this.#groups--;
      this.#retries -= retries;
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
