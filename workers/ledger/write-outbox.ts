// One batch of one shard's outbox, as it stands in the stream, into MySQL: takes its entries apart, writes what they hold, and says
// what may leave the outbox, and what Redis is told with it. MySQL only; runs in the writer threads.
import type { Refused } from '../../coupons/dead-letters.js';
import type { OutboxEntry, PoisonEntry, RawEntry } from '../../coupons/outbox.js';
import { parseEntry } from '../../coupons/outbox.js';
import type { Connection } from '../../platform/mysql.js';
import type { CouponProgress } from './acknowledge.js';
import type { WriteResult, WriteTask } from './write.js';
import { writeBatch } from './write.js';

export interface OutboxTask extends Omit<WriteTask, 'entries'> {
  readonly entries: readonly RawEntry[];
}

export type OutboxResult =
  | { readonly status: 'stale_epoch' }
  | {
      readonly status: 'written';
      /** Entries of which everything is committed, as it is meant or as a dead letter; none of a return of `coupons`. */
      readonly ids: readonly string[];
      /** The ceiling of each coupon of the batch, and its committed returns. */
      readonly coupons: ReadonlyMap<string, CouponProgress>;
      /** Entries of another epoch, of which nothing was done. */
      readonly foreign: readonly string[];
      /** How many claims are committed as rows. */
      readonly claims: number;
      /** What is committed as dead letters. */
      readonly refused: readonly Refused[];
      /** Entries that stay: returns that came before their claims. */
      readonly early: readonly string[];
    };

/** May be repeated after any error: what was written already is recognised. */
export async function writeOutboxBatch(connection: Connection, task: OutboxTask): Promise<OutboxResult> {
  const foreign: string[] = [];
  const entries: (OutboxEntry | PoisonEntry)[] = [];
  for (const raw of task.entries) {
    const contents = parseEntry(raw);
    if (!isOfEpoch(contents, task.epoch)) foreign.push(raw[0]);
    else for (const entry of contents) entries.push(entry);
  }
  const result = await writeBatch(connection, { ...task, entries });
  if (result.status === 'stale_epoch') return result;
  const { status, claims, refused } = result;
  const early = result.early.map(({ id }) => id);
  return { status, claims, refused, early, foreign, ...progressOf(result, entries) };
}

/**
 * What is of another epoch was settled by the rebuild after it and told to nobody, or comes from a Redis that is not the one of
 * this epoch, which then refuses to have it dropped. A dead letter is of no epoch any more.
 */
function isOfEpoch(contents: readonly (OutboxEntry | PoisonEntry)[], epoch: number): boolean {
  return contents.every((entry) => entry.kind === 'poison' || entry.letter !== undefined || entry.epoch === epoch);
}

function progressOf(
  { ids, refused, ceilings }: Extract<WriteResult, { status: 'written' }>,
  entries: readonly (OutboxEntry | PoisonEntry)[],
): { ids: readonly string[]; coupons: ReadonlyMap<string, CouponProgress> } {
  const coupons = new Map<string, CouponProgress>();
  for (const [couponId, ceiling] of ceilings) coupons.set(couponId, { ceiling, returns: [] });
  const plain = new Set(ids);
  const notReturned = new Set(refused.map(({ entry }) => entry.id));
  for (const entry of entries) {
    if (entry.kind !== 'return' || notReturned.has(entry.id) || !plain.delete(entry.id)) continue;
    const progress = coupons.get(entry.couponId) ?? { ceiling: 0, returns: [] };
    progress.returns.push(entry.id);
    coupons.set(entry.couponId, progress);
  }
  return { ids: [...plain], coupons };
}
