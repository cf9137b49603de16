// One batch of one shard's outbox into MySQL, under the shard's epoch. What it reports as written is committed, and is known to
// be there as it was given: it was inserted without a reservation, or was read back. MySQL only; runs in the writer threads.
//
// The batch is one transaction. When MySQL refuses the values of one of its entries it is halved, again and again, until that
// entry is alone: its neighbours are written, and it becomes a dead letter (coupons/dead-letters.ts), as do entries that
// cannot be read and those of which MySQL holds something else. Errors that speak of the server or the connection are thrown.
import { deleteLetters, writeLetters } from '../../coupons/dead-letters.js';
import type { Refused } from '../../coupons/dead-letters.js';
import { raiseCeilings } from '../../coupons/coupon-table.js';
import { readEarly, readSettled, settleEntries } from '../../coupons/entry-settlement.js';
import type { OutboxEntry, PoisonEntry } from '../../coupons/outbox.js';
import { messageOf } from '../../platform/errors.js';
import type { Connection, RowDataPacket } from '../../platform/mysql.js';
import { isDataRefusal, transaction } from '../../platform/mysql.js';

export interface WriteTask {
  readonly shard: number;
  /** The epoch under which this process serves the shard: MySQL refuses the batch once somebody has taken a newer one. */
  readonly epoch: number;
  readonly entries: readonly (OutboxEntry | PoisonEntry)[];
  /** Claims of one coupon that may run ahead of MySQL. */
  readonly ledgerWindow: number;
  /** Whether a return that comes before its claim is left in the outbox; false: it is refused. */
  readonly leaveEarly?: boolean;
  /** Entries of the stream that were left long enough: they are refused all the same. */
  readonly overdue?: readonly string[];
}

export type WriteResult =
  | { readonly status: 'stale_epoch' }
  | {
      readonly status: 'written';
      /** Entries of the stream of which everything is committed, as it is meant or as a dead letter. No others may leave the outbox. */
      readonly ids: readonly string[];
      /** How many claims are committed as rows. */
      readonly claims: number;
      /** What is committed as dead letters. */
      readonly refused: readonly Refused[];
      /** Returns that came before their claims, which another ledger is about to write: to be tried again. */
      readonly early: readonly OutboxEntry[];
      /** Highest claim number that each coupon may hand out from now on. */
      readonly ceilings: ReadonlyMap<string, number>;
    };

/** May be repeated after any error: what was written already is recognised. */
export async function writeBatch(connection: Connection, task: WriteTask): Promise<WriteResult> {
  const entries = task.entries.filter((entry): entry is OutboxEntry => entry.kind !== 'poison');
  const unreadable = task.entries.filter((entry): entry is PoisonEntry => entry.kind === 'poison');
  const refused: Refused[] = unreadable.map((entry) => ({ entry, reason: `it cannot be read: ${entry.reason}` }));
  const ceilings = new Map<string, number>();
  const outcome: Outcome = { inserted: [], uncertain: [], refused, ceilings };
  if (!(await writePart(connection, task, entries, outcome))) return STALE;

  const { inserted, uncertain } = outcome;
  const settled = new Set(await readSettled(connection, uncertain));
  const unsettled = uncertain.filter((entry) => !settled.has(entry));
  const early = await readLeft(connection, task, unsettled);
  for (const entry of unsettled) {
    if (!early.has(entry)) refused.push({ entry, reason: 'MySQL holds something else' });
  }
  await deleteLetters(connection, [...inserted, ...settled], refused);
  if (refused.length > 0) {
    const written = await underEpoch(connection, task, async () => {
      await writeLetters(connection, task.shard, refused);
      return true;
    });
    if (written === undefined) return STALE;
  }
  const found = [...settled].filter(({ kind }) => kind === 'grant').length;
  const claims = inserted.length + found;
  return { status: 'written', ids: idsDone(task.entries, early), claims, refused, early: [...early], ceilings };
}

/** Those that are left for later. */
async function readLeft(
  connection: Connection,
  { shard, leaveEarly, overdue }: WriteTask,
  unsettled: readonly OutboxEntry[],
): Promise<ReadonlySet<OutboxEntry>> {
  if (leaveEarly !== true) return new Set();
  const refused = new Set(overdue);
  const recent = unsettled.filter(({ id }) => !refused.has(id));
  return await readEarly(connection, shard, recent);
}

/** All but those left for later. An entry of the stream may hold several claims: its id counts when all of them are done. */
function idsDone(entries: WriteTask['entries'], early: ReadonlySet<OutboxEntry>): string[] {
  const ids = new Set<string>();
  // Those of one entry stand side by side.
  let last: string | undefined;
  for (const { id } of entries) {
    if (id !== last) ids.add(id);
    last = id;
  }
  for (const { id } of early) ids.delete(id);
  return [...ids];
}

const STALE = { status: 'stale_epoch' } as const;

/** What became of the parts that are committed. */
interface Outcome {
  /** Grants whose rows were made by this write. */
  readonly inserted: OutboxEntry[];
  /** The rest: MySQL held the claim before, or something else, or it is no grant. */
  readonly uncertain: OutboxEntry[];
  readonly refused: Refused[];
  readonly ceilings: Map<string, number>;
}

/** False when somebody has taken a newer epoch. */
async function writePart(
  connection: Connection,
  task: WriteTask,
  entries: readonly OutboxEntry[],
  outcome: Outcome,
): Promise<boolean> {
  const ceilings = ceilingsOf(entries, task.ledgerWindow);
  let inserted: readonly OutboxEntry[];
  try {
    const settled = await underEpoch(connection, task, async () => {
      const done = await settleEntries(connection, entries);
      await raiseCeilings(connection, ceilings);
      return done;
    });
    if (settled === undefined) return false;
    inserted = settled;
  } catch (error) {
    const [only] = entries;
    if (!isDataRefusal(error) || only === undefined) throw error;
    if (entries.length === 1) {
      outcome.refused.push({ entry: only, reason: messageOf(error) });
      return true;
    }
    const middle = Math.ceil(entries.length / 2);
    // In the order of the stream: a claim comes before its return.
    return (
      (await writePart(connection, task, entries.slice(0, middle), outcome)) &&
      (await writePart(connection, task, entries.slice(middle), outcome))
    );
  }
  for (const entry of inserted) outcome.inserted.push(entry);
  if (inserted.length < entries.length) {
    const known = new Set(inserted);
    for (const entry of entries) if (!known.has(entry)) outcome.uncertain.push(entry);
  }
  for (const [couponId, ceiling] of ceilings) {
    outcome.ceilings.set(couponId, Math.max(ceiling, outcome.ceilings.get(couponId) ?? 0));
  }
  return true;
}

/** The highest number that each coupon may hand out once these are committed. */
export function ceilingsOf(entries: readonly OutboxEntry[], ledgerWindow: number): Map<string, number> {
  const ceilings = new Map<string, number>();
  for (const entry of entries) {
    if (entry.kind !== 'grant') continue;
    const { couponId, claimNo } = entry;
    ceilings.set(couponId, Math.max(ceilings.get(couponId) ?? 0, claimNo + ledgerWindow));
  }
  return ceilings;
}

/**
 * `work` in a transaction that shares a lock on the shard's row, so that nobody takes a newer epoch meanwhile. Undefined, with
 * nothing done, when somebody has.
 */
async function underEpoch<T>(connection: Connection, task: WriteTask, work: () => Promise<T>): Promise<T | undefined> {
  return await transaction(connection, async () => {
    const [rows] = await connection.query<RowDataPacket[]>(
      // MariaDB does not know FOR SHARE; MySQL 8 still knows this.
      'SELECT epoch FROM shard WHERE shard = ? LOCK IN SHARE MODE',
      [task.shard],
    );
    if (Number(rows[0]?.['epoch']) !== task.epoch) return undefined;
    return await work();
  });
}
