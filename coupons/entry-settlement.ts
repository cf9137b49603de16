// What an outbox entry does to MySQL, and whether it has done it. MySQL only; the caller holds the transaction.
import { insertGrants, isGrant, isReturn, markReturned, numberKey, readRows } from './claim-log.js';
import { isSettledAs, settleVersion } from './coupon-table.js';
import type { ChangeEntry, GrantEntry, OutboxEntry, ReturnEntry } from './outbox.js';
import type { Queryable } from '../platform/mysql.js';

/** Does what is not done yet; what is there already, also of somebody else, is left as it is. May be repeated. */
export async function settleEntries(connection: Queryable, entries: readonly OutboxEntry[]): Promise<void> {
  const { grants, returns, changes } = byKind(entries);
  await insertGrants(connection, grants);
  // A claim and its return may come in one batch.
  await markReturned(connection, returns);
  for (const change of changes) await settleVersion(connection, change);
}

/** Those of which MySQL holds exactly this. */
export async function readSettled(
  connection: Queryable,
  entries: readonly OutboxEntry[],
): Promise<ReadonlySet<OutboxEntry>> {
  const { grants, returns, changes } = byKind(entries);
  const rows = await readRows(connection, [...grants, ...returns]);
  const settled = new Set<OutboxEntry>();
  for (const grant of grants) if (isGrant(rows.get(numberKey(grant)), grant)) settled.add(grant);
  for (const one of returns) if (isReturn(rows.get(numberKey(one)), one)) settled.add(one);
  for (const change of changes) if (await isSettledAs(connection, change)) settled.add(change);
  return settled;
}

function byKind(entries: readonly OutboxEntry[]) {
  return {
    grants: entries.filter((entry): entry is GrantEntry => entry.kind === 'grant'),
    returns: entries.filter((entry): entry is ReturnEntry => entry.kind === 'return'),
    changes: entries.filter((entry): entry is ChangeEntry => entry.kind === 'change'),
  };
}
