// Rows of coupon_claim_log: how a batch of grants and returns gets in exactly once, and how it is read back. MySQL only; the caller
// holds the transaction.
import type { Queryable, ResultSetHeader, RowDataPacket } from '../platform/mysql.js';
import { ER_DUP_ENTRY, escape, mysqlErrno } from '../platform/mysql.js';
import type { ClaimFilter, ClaimRow } from './coupons.js';

export interface Grant {
  readonly couponId: string;
  readonly claimNo: number;
  readonly userId: string;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly epoch: number;
}

/**
 * Inserts what is missing, and resolves with what it has inserted: when the caller's transaction is committed, MySQL holds
 * exactly these rows. Of the others MySQL holds something already: whether it is the same claim is for `readRows` to see.
 * Sorted by key, so that two writers of one coupon take their locks in the same order.
 */
export async function insertGrants<T extends Grant>(
  connection: Queryable,
  grants: readonly T[],
): Promise<readonly T[]> {
  const sorted = inOrder(grants);
  try {
    return await insertRows(connection, sorted);
  } catch (error) {
    // A plain INSERT tells every kind of misfit apart, where INSERT IGNORE would swallow it. Duplicates are a second
    // delivery, or a conflict: neither may keep the rest of the batch out.
    if (mysqlErrno(error) !== ER_DUP_ENTRY) throw error;
    const taken = await takenKeys(connection, sorted);
    const missing = sorted.filter((grant) => {
      const keys = [numberKey(grant), userKey(grant)];
      if (keys.some((key) => taken.has(key))) return false;
      // Two of one batch may be at odds with each other, too: the first one counts.
      for (const key of keys) taken.add(key);
      return true;
    });
    return await insertRows(connection, missing);
  }
}

/** Inserts all of them; false, with nothing to be kept, when one is known already or MySQL has changed something. */
export async function insertNewGrants(connection: Queryable, grants: readonly Grant[]): Promise<boolean> {
  try {
    return (await insertRows(connection, inOrder(grants))).length === grants.length;
  } catch (error) {
    if (mysqlErrno(error) === ER_DUP_ENTRY) return false;
    throw error;
  }
}

/** As every writer takes its locks. */
function inOrder<T extends Grant>(grants: readonly T[]): T[] {
  return [...grants].sort((a, b) => compare(a.couponId, b.couponId) || a.claimNo - b.claimNo);
}

/**
 * All of them or, with an error, none. Resolves with those that are there exactly as they were given: strict mode makes an
 * error of what does not fit, whole numbers are not rounded, and where MySQL says that it has changed something (a warning or
 * note) none is taken for granted.
 */
async function insertRows<T extends Grant>(connection: Queryable, grants: readonly T[]): Promise<readonly T[]> {
  if (grants.length === 0) return [];
  const [{ affectedRows, warningStatus }] = await connection.query<ResultSetHeader>(insertStatement(grants));
  return affectedRows === grants.length && warningStatus === 0 ? grants : [];
}

/**
 * The statement as text, with every user as a string, which arrives as the bytes it is made of. What many claims share is made once:
 * half of the price of mysql2's own lists of rows.
 */
function insertStatement(grants: readonly Grant[]): string {
  let [couponId, at, epoch]: [string?, number?, number?] = [];
  let [before, after] = ['', ''];
  const rows = grants.map((grant) => {
    if (grant.couponId !== couponId) {
      couponId = grant.couponId;
      before = `(${escape(couponId)},`;
    }
    if (grant.at !== at || grant.epoch !== epoch) {
      ({ at, epoch } = grant);
      after = `,'${timeText(at)}',${epoch})`;
    }
    return `${before}${grant.claimNo},${escape(grant.userId)}${after}`;
  });
  return `INSERT INTO coupon_claim_log (coupon_id, claim_no, user_id, claimed_at, epoch) VALUES ${rows.join(',')}`;
}

/** Epoch milliseconds as MySQL writes a time in UTC. */
function timeText(at: number): string {
  return new Date(at).toISOString().replace('T', ' ').replace('Z', '');
}

/** A claim that was given back. */
export interface Return extends Pick<Grant, 'couponId' | 'claimNo' | 'userId'> {
  /** Epoch milliseconds. */
  readonly at: number;
}

/**
 * Marks the rows of these claims as returned, each once: a row that is marked already, or that is another user's, is left
 * as it is, for `readRows` to see. In the order of the keys, as the inserts are.
 */
export async function markReturned(connection: Queryable, returns: readonly Return[]): Promise<void> {
  const sorted = [...returns].sort((a, b) => compare(a.couponId, b.couponId) || a.claimNo - b.claimNo);
  for (const [couponId, group] of byCoupon(sorted)) {
    const times = group.map(() => 'WHEN ? THEN ?').join(' ');
    await connection.query<ResultSetHeader>(
      `UPDATE coupon_claim_log SET returned_at = CASE claim_no ${times} END
        WHERE coupon_id = ? AND claim_no IN (?) AND (claim_no, user_id) IN (?) AND returned_at IS NULL`,
      [
        ...group.flatMap((one) => [one.claimNo, new Date(one.at)]),
        couponId,
        group.map((one) => one.claimNo),
        group.map((one) => [one.claimNo, Buffer.from(one.userId)]),
      ],
    );
  }
}

/** Claim numbers and users, out of those asked for, that have a row. */
async function takenKeys(connection: Queryable, grants: readonly Grant[]): Promise<Set<string>> {
  const taken = new Set<string>();
  for (const [couponId, group] of byCoupon(grants)) {
    const [rows] = await connection.query<RowDataPacket[]>(
      'SELECT claim_no, user_id FROM coupon_claim_log WHERE coupon_id = ? AND (claim_no IN (?) OR user_id IN (?))',
      [couponId, group.map((g) => g.claimNo), group.map((g) => Buffer.from(g.userId))],
    );
    for (const row of rows) {
      taken.add(numberKey({ couponId, claimNo: Number(row['claim_no']) }));
      taken.add(userKey({ couponId, userId: String(row['user_id']) }));
    }
  }
  return taken;
}

/** The claims that MySQL holds under these numbers, keyed by `numberKey`. */
export async function readRows(
  connection: Queryable,
  claims: readonly Pick<Grant, 'couponId' | 'claimNo'>[],
): Promise<Map<string, ClaimRow>> {
  const found = new Map<string, ClaimRow>();
  for (const [couponId, group] of byCoupon(claims)) {
    const [rows] = await connection.query<RowDataPacket[]>(
      `SELECT claim_no, user_id, claimed_at, returned_at FROM coupon_claim_log
        WHERE coupon_id = ? AND claim_no IN (?)`,
      [couponId, group.map((claim) => claim.claimNo)],
    );
    for (const row of rows.map((one) => claimRow(couponId, one))) found.set(numberKey(row), row);
  }
  return found;
}

/** Rows of one coupon by claim number, ascending. */
export async function readClaims(connection: Queryable, couponId: string, filter: ClaimFilter): Promise<ClaimRow[]> {
  const conditions = ['coupon_id = ?', 'claim_no > ?'];
  const values: unknown[] = [couponId, filter.after];
  if (filter.userId !== undefined) {
    conditions.push('user_id = ?');
    values.push(Buffer.from(filter.userId));
  }
  if (filter.claimNo !== undefined) {
    conditions.push('claim_no = ?');
    values.push(filter.claimNo);
  }
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT claim_no, user_id, claimed_at, returned_at FROM coupon_claim_log
      WHERE ${conditions.join(' AND ')} ORDER BY claim_no LIMIT ?`,
    [...values, filter.limit],
  );
  return rows.map((row) => claimRow(couponId, row));
}

/** True when the row is this grant. */
export function isGrant(row: ClaimRow | undefined, grant: Pick<Grant, 'userId' | 'at'>): boolean {
  return row?.userId === grant.userId && row.claimedAt === grant.at;
}

/** True when the row is marked with this return. */
export function isReturn(row: ClaimRow | undefined, one: Return): boolean {
  return row?.userId === one.userId && row.returnedAt === one.at;
}

function claimRow(couponId: string, row: RowDataPacket): ClaimRow {
  return {
    couponId,
    claimNo: Number(row['claim_no']),
    userId: String(row['user_id']),
    claimedAt: (row['claimed_at'] as Date).getTime(),
    returnedAt: (row['returned_at'] as Date | null)?.getTime() ?? null,
  };
}

/** How many rows with a higher number than `after` a coupon has, how many of them were returned, and the highest number. */
export async function countClaims(
  connection: Queryable,
  couponId: string,
  after = 0,
): Promise<{ claimed: number; returned: number; highestNo: number }> {
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT COUNT(*) AS claimed, COUNT(returned_at) AS returned, COALESCE(MAX(claim_no), 0) AS highest
       FROM coupon_claim_log WHERE coupon_id = ? AND claim_no > ?`,
    [couponId, after],
  );
  const [row] = rows;
  return {
    claimed: Number(row?.['claimed']),
    returned: Number(row?.['returned']),
    highestNo: Number(row?.['highest']),
  };
}

export function numberKey(grant: Pick<Grant, 'couponId' | 'claimNo'>): string {
  return `${grant.couponId}#${grant.claimNo}`;
}

function userKey(grant: Pick<Grant, 'couponId' | 'userId'>): string {
  return `${grant.couponId}@${grant.userId}`;
}

export function byCoupon<T extends { couponId: string }>(items: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(item.couponId);
    if (group === undefined) groups.set(item.couponId, [item]);
    else group.push(item);
  }
  return groups;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
