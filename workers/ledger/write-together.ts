// The batches of several shards in one transaction: most of what a small batch costs MySQL and the writer thread does not depend on
// its size. Only for what is expected, new claims under the epoch of their shard; anything else is for write-outbox.ts, shard by
// shard. MySQL only; runs in the writer threads.
import { insertNewGrants } from '../../coupons/claim-log.js';
import { raiseCeilings } from '../../coupons/coupon-table.js';
import type { GrantEntry } from '../../coupons/outbox.js';
import { parseEntry } from '../../coupons/outbox.js';
import type { Connection, RowDataPacket } from '../../platform/mysql.js';
import { isDataRefusal, isLockConflict, transaction } from '../../platform/mysql.js';
import type { OutboxResult, OutboxTask } from './write-outbox.js';
import { ceilingsOf } from './write.js';

/** What ends the transaction with nothing done. */
class NotTogether extends Error {}

/**
 * The results in the order of the tasks, each of another shard. Undefined, with nothing done, when one of them is not what is
 * expected, or waits for a lock: each has to be written by itself. May be repeated after any error.
 */
export async function writeTogether(
  connection: Connection,
  tasks: readonly OutboxTask[],
): Promise<readonly OutboxResult[] | undefined> {
  const batches = tasks.map(newClaims);
  if (!batches.every((batch) => batch !== undefined)) return undefined;
  const grants = batches.flat();
  const ceilings = batches.map((batch, i) => ceilingsOf(batch, tasks[i]?.ledgerWindow ?? 0));
  try {
    await transaction(connection, async () => {
      if (!(await epochsStand(connection, tasks))) throw new NotTogether();
      if (!(await insertNewGrants(connection, grants))) throw new NotTogether();
      await raiseCeilings(connection, highest(ceilings));
    });
  } catch (error) {
    if (error instanceof NotTogether || isDataRefusal(error) || isLockConflict(error)) return undefined;
    throw error;
  }
  return tasks.map(({ entries }, i) => ({
    status: 'written',
    ids: entries.map(([id]) => id),
    coupons: new Map([...(ceilings[i] ?? [])].map(([couponId, ceiling]) => [couponId, { ceiling, returns: [] }])),
    foreign: [],
    claims: batches[i]?.length ?? 0,
    refused: [],
    early: [],
  }));
}

/** What the entries hold, when all of it is claims of the task's epoch that come for the first time. */
function newClaims({ entries, epoch }: OutboxTask): GrantEntry[] | undefined {
  const claims: GrantEntry[] = [];
  for (const raw of entries) {
    for (const entry of parseEntry(raw)) {
      if (entry.kind !== 'grant' || entry.letter !== undefined || entry.epoch !== epoch) return undefined;
      claims.push(entry);
    }
  }
  return claims;
}

/** By coupon. A coupon is in one task, unless an entry came into the stream of another shard. */
function highest(ceilings: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const all = new Map<string, number>();
  for (const [couponId, ceiling] of ceilings.flatMap((ofTask) => [...ofTask])) {
    all.set(couponId, Math.max(ceiling, all.get(couponId) ?? 0));
  }
  return all;
}

/**
 * Shares a lock on the rows of the shards, so that nobody takes a newer epoch of one of them meanwhile. By the key: a scan of the
 * table, which so small a one invites, would wait for the locks of all other shards, too.
 */
async function epochsStand(connection: Connection, tasks: readonly OutboxTask[]): Promise<boolean> {
  const [rows] = await connection.query<RowDataPacket[]>(
    'SELECT shard, epoch FROM shard FORCE INDEX (PRIMARY) WHERE shard IN (?) ORDER BY shard LOCK IN SHARE MODE',
    [tasks.map(({ shard }) => shard)],
  );
  const epochs = new Map(rows.map((row) => [Number(row['shard']), Number(row['epoch'])]));
  return tasks.every(({ shard, epoch }) => epochs.get(shard) === epoch);
}
