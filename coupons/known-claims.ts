// All claims of a coupon that MySQL knows of: its rows, and what waits among the dead letters. A rebuild loads these, because
// a claim whose row was refused is a promise to its user like any other. Reads only.
import { readClaims } from './claim-log.js';
import type { ClaimRow } from './coupons.js';
import type { GrantEntry, ReturnEntry } from './outbox.js';
import type { Queryable, RowDataPacket } from '../platform/mysql.js';

/** What dead letters add to the rows of one coupon. */
export interface LetteredClaims {
  /** Claims without a row, by number. */
  readonly claims: readonly ClaimRow[];
  /** When claims were given back whose rows are not marked, by number; epoch milliseconds. */
  readonly returns: ReadonlyMap<number, number>;
}

/** Of what the letters of a coupon say, that which is at odds with a row, or with an earlier letter, is left out. */
export async function readBeyondRows(
  connection: Queryable,
  couponId: string,
  letters: readonly (GrantEntry | ReturnEntry)[],
): Promise<LetteredClaims> {
  const [claims, returns] = [new Map<number, ClaimRow>(), new Map<number, number>()];
  if (letters.length === 0) return { claims: [], returns };
  const [found] = await connection.query<RowDataPacket[]>(
    `SELECT claim_no, user_id, returned_at FROM coupon_claim_log
      WHERE coupon_id = ? AND (claim_no IN (?) OR user_id IN (?))`,
    [couponId, letters.map(({ claimNo }) => claimNo), letters.map(({ userId }) => Buffer.from(userId))],
  );
  const userOf = new Map(found.map((row) => [Number(row['claim_no']), String(row['user_id'])]));
  const returned = new Set(found.filter((row) => row['returned_at'] !== null).map((row) => Number(row['claim_no'])));
  const users = new Set(userOf.values());
  for (const { kind, claimNo, userId, at } of [...letters].sort((a, b) => a.claimNo - b.claimNo)) {
    if (kind !== 'grant' || userOf.has(claimNo) || users.has(userId)) continue;
    userOf.set(claimNo, userId);
    users.add(userId);
    claims.set(claimNo, { couponId, claimNo, userId, claimedAt: at, returnedAt: null });
  }
  for (const { kind, claimNo, userId, at } of letters) {
    if (kind !== 'return' || userOf.get(claimNo) !== userId || returned.has(claimNo)) continue;
    const claim = claims.get(claimNo);
    if (claim === undefined) returns.set(claimNo, at);
    else claims.set(claimNo, { ...claim, returnedAt: at });
  }
  return { claims: [...claims.values()], returns };
}

/** Every known claim of a coupon once, by number, ascending, in pages of at most `limit`. */
export async function* readKnownClaims(
  connection: Queryable,
  couponId: string,
  { claims, returns }: LetteredClaims,
  limit: number,
): AsyncGenerator<ClaimRow[]> {
  let waiting = [...claims];
  for (let after = 0; ;) {
    const page = await readClaims(connection, couponId, { after, limit });
    const last = page.at(-1);
    if (last === undefined) break;
    after = last.claimNo;
    const between = waiting.filter(({ claimNo }) => claimNo < after);
    waiting = waiting.slice(between.length);
    const rows = page.map((row) => ({ ...row, returnedAt: row.returnedAt ?? returns.get(row.claimNo) ?? null }));
    yield* slices(
      [...rows, ...between].sort((a, b) => a.claimNo - b.claimNo),
      limit,
    );
  }
  yield* slices(waiting, limit);
}

function* slices(claims: readonly ClaimRow[], limit: number): Generator<ClaimRow[]> {
  for (let i = 0; i < claims.length; i += limit) yield claims.slice(i, i + limit);
}

/** Claims that are not returned, as long as no number is missing. */
export async function countHeld(connection: Queryable, couponId: string, letters: LetteredClaims): Promise<number> {
  const rows = await countRows(connection, couponId);
  const highest = Math.max(rows.highest, letters.claims.at(-1)?.claimNo ?? 0);
  const returned = letters.returns.size + letters.claims.filter(({ returnedAt }) => returnedAt !== null).length;
  return highest - rows.returned - returned;
}

/** The highest number that has a row, and how many rows are returned. */
export async function countRows(
  connection: Queryable,
  couponId: string,
): Promise<{ highest: number; returned: number }> {
  const [rows] = await connection.query<RowDataPacket[]>(
    'SELECT COALESCE(MAX(claim_no), 0) AS highest, COUNT(returned_at) AS returned FROM coupon_claim_log WHERE coupon_id = ?',
    [couponId],
  );
  return { highest: Number(rows[0]?.['highest']), returned: Number(rows[0]?.['returned']) };
}
