// Dead letters: outbox entries that MySQL refuses, or of which it holds something else. They have left the outbox, so that
// their neighbours go on, and are kept in MySQL until an attempt succeeds. An attempt puts the entry back into the outbox,
// with the number of its letter, and the ledger settles it or refuses it as it does with any other.
//
//   refused      the ledger writes the letter (`retrying`) before the entry leaves the outbox: a crash in between makes it
//                write the same letter again, which changes nothing.
//   tried again  by itself, later each time, up to ATTEMPTS_MAX times; then the letter is `parked` for an operator to see, who
//                may have it tried again any time.
//   settled      the ledger deletes the letter after the row is committed.
//
// A letter holds one claim, return or change, or what could not be read: among it an entry of several claims that a newer
// version has written. Once it can be read, such a letter is settled when all of it is, and an attempt counts once.
//
// A claim or return among the letters is known: rebuilds load it (`readLetteredClaims`), and the audit counts it.
import { createHash } from 'node:crypto';
import { byCoupon } from './claim-log.js';
import type { GrantEntry, OutboxEntry, PoisonEntry, ReturnEntry } from './outbox.js';
import { fieldsOf, parseEntry } from './outbox.js';
import type { Queryable, ResultSetHeader, RowDataPacket } from '../platform/mysql.js';

/** Attempts before a letter is parked, the first one included: with the delays below, after some seven minutes. */
export const ATTEMPTS_MAX = 5;
/** Before the second attempt; each further delay is four times as long. */
const DELAY_S_MIN = 5;
/** Letters of one shard at most. More is no poison but something wrong with MySQL: the outbox is a safer place then. */
export const LETTERS_MAX = 10_000;
/** Text that is kept of an entry. Those of this service are far smaller; others are of no use to it. */
const FIELDS_BYTES_MAX = 60_000;
const REASON_LENGTH_MAX = 500;

export interface Refused {
  readonly entry: OutboxEntry | PoisonEntry;
  readonly reason: string;
}

export interface DeadLetter {
  readonly id: number;
  readonly shard: number;
  /** Names and values of the entry, in turn. */
  readonly fields: readonly string[];
  readonly kind: 'grant' | 'return' | 'change' | 'unreadable';
  readonly couponId: string | null;
  readonly claimNo: number | null;
  readonly userId: string | null;
  readonly reason: string;
  readonly status: 'retrying' | 'parked';
  readonly attempts: number;
  /** Epoch milliseconds; null for one that is parked. */
  readonly nextAttemptAt: number | null;
  readonly createdAt: number;
}

/** Writes letters for entries that were refused, in the caller's transaction. Throws when the shard has too many. */
export async function writeLetters(connection: Queryable, shard: number, refused: readonly Refused[]): Promise<void> {
  const room = LETTERS_MAX - (await countLetters(connection, shard));
  const fresh = refused.filter(({ entry }) => entry.letter === undefined);
  if (fresh.length > Math.max(0, room))
    throw new Error(`shard ${shard} has ${LETTERS_MAX} dead letters: nothing more is put aside`);
  const counted = new Set<number>();
  for (const one of refused) {
    const { letter } = one.entry;
    if (letter !== undefined && counted.has(letter)) continue;
    if (letter !== undefined && (await countAttempt(connection, letter, one.reason))) counted.add(letter);
    else await insertLetter(connection, shard, one);
  }
}

/** False when the letter was settled meanwhile. */
async function countAttempt(connection: Queryable, letter: number, reason: string): Promise<boolean> {
  // MySQL assigns from left to right: the delays see the new number of attempts.
  const [updated] = await connection.query<ResultSetHeader>(
    `UPDATE dead_letter SET attempts = attempts + 1, reason = ?,
            status = IF(attempts >= ?, 'parked', 'retrying'),
            next_attempt_at = IF(attempts >= ?, NULL, UTC_TIMESTAMP(3) + INTERVAL ? * POW(4, attempts - 1) SECOND)
      WHERE id = ?`,
    [reason.slice(0, REASON_LENGTH_MAX), ATTEMPTS_MAX, ATTEMPTS_MAX, DELAY_S_MIN, letter],
  );
  return updated.affectedRows === 1;
}

async function insertLetter(connection: Queryable, shard: number, { entry, reason }: Refused): Promise<void> {
  const text = JSON.stringify(fieldsOf(entry));
  const fields = Buffer.byteLength(text) <= FIELDS_BYTES_MAX ? text : '[]';
  const claim = entry.kind === 'grant' || entry.kind === 'return' ? entry : undefined;
  const columns = {
    shard,
    entry_id: entry.id,
    fingerprint: createHash('sha256').update(text).digest(),
    kind: entry.kind === 'poison' ? 'unreadable' : entry.kind,
    coupon_id: entry.kind === 'poison' ? null : entry.couponId,
    claim_no: claim?.claimNo ?? null,
    user_id: claim === undefined ? null : Buffer.from(claim.userId),
    fields: Buffer.from(fields),
    reason: reason.slice(0, REASON_LENGTH_MAX),
    status: 'retrying',
    attempts: 1,
  };
  await connection.query<ResultSetHeader>(
    `INSERT INTO dead_letter SET ?, created_at = UTC_TIMESTAMP(3), next_attempt_at = UTC_TIMESTAMP(3) + INTERVAL ? SECOND
         ON DUPLICATE KEY UPDATE attempts = attempts`,
    [columns, DELAY_S_MIN],
  );
}

/** After the rows of what is settled are committed; `refused` is the rest of the same batch. */
export async function deleteLetters(
  connection: Queryable,
  settled: readonly OutboxEntry[],
  refused: readonly Refused[],
): Promise<void> {
  const kept = new Set(refused.map(({ entry }) => entry.letter));
  const ids = settled.map(({ letter }) => letter).filter((letter) => letter !== undefined && !kept.has(letter));
  if (ids.length > 0) await connection.query<ResultSetHeader>('DELETE FROM dead_letter WHERE id IN (?)', [ids]);
}

/** Letters by id, ascending. */
export async function readLetters(
  connection: Queryable,
  page: { after: number; limit: number; shard?: number },
): Promise<DeadLetter[]> {
  const inShard = page.shard === undefined ? '' : 'shard = ? AND';
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT * FROM dead_letter WHERE ${inShard} id > ? ORDER BY id LIMIT ?`,
    [...(page.shard === undefined ? [] : [page.shard]), page.after, page.limit],
  );
  return rows.map(letterOf);
}

/** Of one shard, or of all. */
export async function countLetters(connection: Queryable, shard?: number): Promise<number> {
  const inShard = shard === undefined ? '' : 'WHERE shard = ?';
  const values = shard === undefined ? [] : [shard];
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT COUNT(*) AS letters FROM dead_letter ${inShard}`,
    values,
  );
  return Number(rows[0]?.['letters']);
}

export async function readLetter(connection: Queryable, id: number): Promise<DeadLetter | undefined> {
  const [rows] = await connection.query<RowDataPacket[]>('SELECT * FROM dead_letter WHERE id = ?', [id]);
  return rows[0] && letterOf(rows[0]);
}

/** Some letters whose next attempt is due. */
export async function readDueLetters(connection: Queryable, limit: number): Promise<DeadLetter[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT * FROM dead_letter WHERE status = 'retrying' AND next_attempt_at <= UTC_TIMESTAMP(3)
      ORDER BY next_attempt_at, id LIMIT ?`,
    [limit],
  );
  return rows.map(letterOf);
}

/** Puts off the next attempt of a letter that is tried now. False when somebody else tries it, or has settled it. */
export async function postpone(connection: Queryable, letter: DeadLetter, delayMs: number): Promise<boolean> {
  const [updated] = await connection.query<ResultSetHeader>(
    `UPDATE dead_letter SET next_attempt_at = UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND
      WHERE id = ? AND attempts = ? AND next_attempt_at = ?`,
    [
      delayMs * 1_000,
      letter.id,
      letter.attempts,
      letter.nextAttemptAt === null ? null : new Date(letter.nextAttemptAt),
    ],
  );
  return updated.affectedRows === 1;
}

/** The claims and returns among the letters of a shard, by coupon. At most LETTERS_MAX. */
export async function readLetteredClaims(
  connection: Queryable,
  shard: number,
): Promise<Map<string, (GrantEntry | ReturnEntry)[]>> {
  const letters = await readLetters(connection, { shard, after: 0, limit: LETTERS_MAX });
  const entries = letters.flatMap(({ id, fields }) => parseEntry([`letter ${id}`, [...fields]]));
  return byCoupon(entries.filter((entry) => entry.kind === 'grant' || entry.kind === 'return'));
}

function letterOf(row: RowDataPacket): DeadLetter {
  const text = (name: string): string | null => (row[name] === null ? null : String(row[name]));
  return {
    id: Number(row['id']),
    shard: Number(row['shard']),
    fields: JSON.parse(String(row['fields'])) as string[],
    kind: row['kind'] as DeadLetter['kind'],
    couponId: text('coupon_id'),
    claimNo: row['claim_no'] === null ? null : Number(row['claim_no']),
    userId: text('user_id'),
    reason: String(row['reason']),
    status: row['status'] as DeadLetter['status'],
    attempts: Number(row['attempts']),
    nextAttemptAt: (row['next_attempt_at'] as Date | null)?.getTime() ?? null,
    createdAt: (row['created_at'] as Date).getTime(),
  };
}
