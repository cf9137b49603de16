// One batch of one shard's outbox into MySQL, in one transaction, under the shard's epoch. What it reports as written is
// committed and was read back. MySQL only; runs in the writer threads.
import { insertGrants, isGrant, isReturn, markReturned, numberKey, readRows } from '../../coupons/claim-log.js';
import { isSettledAs, raiseCeilings, settleVersion } from '../../coupons/coupon-table.js';
import type { ChangeEntry, GrantEntry, OutboxEntry, ReturnEntry } from '../../coupons/outbox.js';
import type { Connection, RowDataPacket } from '../../platform/mysql.js';
import { transaction } from '../../platform/mysql.js';

export interface WriteTask {
  readonly shard: number;
  /** The epoch under which this process serves the shard: MySQL refuses the batch once somebody has taken a newer one. */
  readonly epoch: number;
  readonly entries: readonly OutboxEntry[];
  /** Claims of one coupon that may run ahead of MySQL. */
  readonly ledgerWindow: number;
}

export type WriteResult =
  | { readonly status: 'stale_epoch' }
  | {
      readonly status: 'written';
      /** Entries whose effect is committed: these, and only these, may leave the outbox. */
      readonly ids: readonly string[];
      /** Entries of which MySQL holds something else: an alarm, never acknowledged. */
      readonly conflicts: readonly OutboxEntry[];
      /** Highest claim number that each coupon may hand out from now on. */
      readonly ceilings: ReadonlyMap<string, number>;
    };

/** May be repeated after any error: what was written already is recognised. */
export async function writeBatch(connection: Connection, task: WriteTask): Promise<WriteResult> {
  const grants = task.entries.filter((entry): entry is GrantEntry => entry.kind === 'grant');
  const returns = task.entries.filter((entry): entry is ReturnEntry => entry.kind === 'return');
  const changes = task.entries.filter((entry): entry is ChangeEntry => entry.kind === 'change');
  const ceilings = new Map<string, number>();
  for (const { couponId, claimNo } of grants) {
    ceilings.set(couponId, Math.max(ceilings.get(couponId) ?? 0, claimNo + task.ledgerWindow));
  }

  const current = await transaction(connection, async () => {
    if (!(await holdsEpoch(connection, task))) return false;
    await insertGrants(connection, grants);
    // A claim and its return may come in one batch.
    await markReturned(connection, returns);
    for (const change of changes) await settleVersion(connection, change);
    await raiseCeilings(connection, ceilings);
    return true;
  });
  if (!current) return { status: 'stale_epoch' };

  const rows = await readRows(connection, [...grants, ...returns]);
  const conflicts: OutboxEntry[] = [];
  const ids: string[] = [];
  for (const grant of grants) {
    if (isGrant(rows.get(numberKey(grant)), grant)) ids.push(grant.id);
    else conflicts.push(grant);
  }
  for (const one of returns) {
    if (isReturn(rows.get(numberKey(one)), one)) ids.push(one.id);
    else conflicts.push(one);
  }
  for (const change of changes) {
    if (await isSettledAs(connection, change)) ids.push(change.id);
    else conflicts.push(change);
  }
  return { status: 'written', ids, conflicts, ceilings };
}

/** Shares a lock on the shard's row until the transaction ends, so that nobody takes a newer epoch meanwhile. */
async function holdsEpoch(connection: Connection, task: WriteTask): Promise<boolean> {
  const [rows] = await connection.query<RowDataPacket[]>(
    // MariaDB does not know FOR SHARE; MySQL 8 still knows this.
    'SELECT epoch FROM shard WHERE shard = ? LOCK IN SHARE MODE',
    [task.shard],
  );
  return Number(rows[0]?.['epoch']) === task.epoch;
}
