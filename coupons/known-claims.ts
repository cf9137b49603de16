// All claims of a coupon that MySQL knows of: its rows, and what waits among the dead letters. A rebuild loads these, because
// a claim whose row was refused is a promise to its user like any other. Reads only.
import { countClaims, readClaims } from './claim-log.js';
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

/** How many known claims with a higher number than `after`, how many of them were returned, and the highest number. */
export async function countKnown(
  connection: Queryable,
  couponId: string,
  { claims, returns }: LetteredClaims,
  after = 0,
): Promise<{ claimed: number; returned: number; highestNo: number }> {
  const rows = await countClaims(connection, couponId, after);
  const beyond = claims.filter(({ claimNo }) => claimNo > after);
  const marked = [...returns.keys()].filter((claimNo) => claimNo > after).length;
  return {
    claimed: rows.claimed + beyond.length,
    returned: rows.returned + marked + beyond.filter(({ returnedAt }) => returnedAt !== null).length,
    highestNo: Math.max(rows.highestNo, beyond.at(-1)?.claimNo ?? 0),
  };
}
