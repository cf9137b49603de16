// What an outbox entry does to MySQL, and whether it has done it. MySQL only; the caller holds the transaction.
import { insertGrants, isGrant, isReturn, markReturned, numberKey, readRows } from './claim-log.js';
import { readLetteredClaims } from './dead-letters.js';
import { isSettledAs, settleVersion } from './coupon-table.js';
import type { ChangeEntry, GrantEntry, OutboxEntry, ReturnEntry } from './outbox.js';
import type { Queryable } from '../platform/mysql.js';

/**
 * Does what is not done yet; what is there already, also of somebody else, is left as it is. May be repeated. Resolves with
 * those of which MySQL holds exactly this once the transaction is committed; of the others `readSettled` can tell.
 */
export async function settleEntries(
  connection: Queryable,
  entries: readonly OutboxEntry[],
): Promise<readonly OutboxEntry[]> {
  const { grants, returns, changes } = byKind(entries);
  const inserted = await insertGrants(connection, grants);
  // A claim and its return may come in one batch.
  await markReturned(connection, returns);
  for (const change of changes) await settleVersion(connection, change);
  return inserted;
}

/** Those of which MySQL holds exactly this. */
export async function readSettled(
  connection: Queryable,
  entries: readonly OutboxEntry[],
): Promise<readonly OutboxEntry[]> {
  const { grants, returns, changes } = byKind(entries);
  const rows = await readRows(connection, [...grants, ...returns]);
  const settled: OutboxEntry[] = [
    ...grants.filter((grant) => isGrant(rows.get(numberKey(grant)), grant)),
    ...returns.filter((one) => isReturn(rows.get(numberKey(one)), one)),
  ];
  for (const change of changes) if (await isSettledAs(connection, change)) settled.push(change);
  return settled;
}

/**
 * Returns whose claim may be on its way still: another ledger has read it and not written it yet. None whose claim is a dead
 * letter or another user's, and none that was put aside before.
 */
export async function readEarly(
  connection: Queryable,
  shard: number,
  unsettled: readonly OutboxEntry[],
): Promise<ReadonlySet<OutboxEntry>> {
  const returns = byKind(unsettled).returns.filter((entry) => entry.letter === undefined);
  if (returns.length === 0) return new Set();
  const rows = await readRows(connection, returns);
  const lettered = new Set([...(await readLetteredClaims(connection, shard)).values()].flat().map(numberKey));
  return new Set(
    returns.filter((entry) => {
      const row = rows.get(numberKey(entry));
      if (row === undefined) return !lettered.has(numberKey(entry));
      // It has come since the return was tried.
      return row.userId === entry.userId && row.returnedAt === null;
    }),
  );
}

function byKind(entries: readonly OutboxEntry[]) {
  return {
    grants: entries.filter((entry): entry is GrantEntry => entry.kind === 'grant'),
    returns: entries.filter((entry): entry is ReturnEntry => entry.kind === 'return'),
    changes: entries.filter((entry): entry is ChangeEntry => entry.kind === 'change'),
  };
}
