// Rows of coupon_withheld: ranges of claim numbers that Redis may have handed out before it forgot, and that nobody could
// tell of. MySQL only; the caller holds the transaction.
import type { Queryable, ResultSetHeader, RowDataPacket } from '../platform/mysql.js';

export interface NumberRange {
  readonly firstNo: number;
  readonly lastNo: number;
  /** Under which they may have been handed out. */
  readonly epoch: number;
  /** False once its units were given back to the stock. */
  readonly withheld: boolean;
}

/** All ranges of a coupon, ascending. They do not overlap. */
export async function readRanges(connection: Queryable, couponId: string): Promise<NumberRange[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT first_no, last_no, epoch, released_at IS NULL AS withheld FROM coupon_withheld
      WHERE coupon_id = ? ORDER BY first_no`,
    [couponId],
  );
  return rows.map((row) => ({
    firstNo: Number(row['first_no']),
    lastNo: Number(row['last_no']),
    epoch: Number(row['epoch']),
    withheld: Number(row['withheld']) === 1,
  }));
}

/** How many numbers have neither row nor letter in ranges of either kind: void, and of these withheld still. */
export async function countVoids(
  connection: Queryable,
  couponId: string,
  lettered: readonly { readonly claimNo: number }[] = [],
): Promise<{ voids: number; withheld: number }> {
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT released_at IS NULL AS withheld, first_no, last_no, last_no - first_no + 1 -
              (SELECT COUNT(*) FROM coupon_claim_log AS claim
                WHERE claim.coupon_id = r.coupon_id AND claim_no BETWEEN first_no AND last_no) AS numbers
       FROM coupon_withheld AS r WHERE coupon_id = ?`,
    [couponId],
  );
  let [voids, withheld] = [0, 0];
  for (const row of rows) {
    const [first, last] = [Number(row['first_no']), Number(row['last_no'])];
    const letters = lettered.filter(({ claimNo }) => first <= claimNo && claimNo <= last).length;
    const numbers = Number(row['numbers']) - letters;
    voids += numbers;
    if (Number(row['withheld']) === 1) withheld += numbers;
  }
  return { voids, withheld };
}

/** Units withheld, of every coupon that has any. One query, over a table that is empty as a rule. */
export async function readWithheld(connection: Queryable): Promise<Map<string, number>> {
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT coupon_id, SUM(last_no - first_no + 1 -
              (SELECT COUNT(*) FROM coupon_claim_log AS claim
                WHERE claim.coupon_id = r.coupon_id AND claim_no BETWEEN first_no AND last_no)) AS units
       FROM coupon_withheld AS r WHERE released_at IS NULL GROUP BY coupon_id`,
  );
  return new Map(
    rows.map((row) => [String(row['coupon_id']), Number(row['units'])] as const).filter(([, units]) => units > 0),
  );
}

export async function insertRange(
  connection: Queryable,
  range: { couponId: string; firstNo: number; lastNo: number; shard: number; epoch: number },
): Promise<void> {
  const { couponId, firstNo, lastNo, shard, epoch } = range;
  await connection.query<ResultSetHeader>(
    'INSERT INTO coupon_withheld VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(3), NULL)',
    [couponId, firstNo, lastNo, shard, epoch],
  );
}

/** For the ranges of an epoch that nothing was loaded from yet. */
export async function deleteRanges(connection: Queryable, shard: number, epoch: number): Promise<void> {
  await connection.query<ResultSetHeader>('DELETE FROM coupon_withheld WHERE shard = ? AND epoch = ?', [shard, epoch]);
}

/** Gives back the ranges of epochs of which every worker has reported, and every report was read. Returns how many. */
export async function releaseSettled(connection: Queryable, shard: number): Promise<number> {
  const [released] = await connection.query<ResultSetHeader>(
    `UPDATE coupon_withheld SET released_at = UTC_TIMESTAMP(3) WHERE shard = ? AND released_at IS NULL AND epoch NOT IN
       (SELECT epoch FROM worker_epoch WHERE shard = ? AND state <> 'reported')
       AND NOT EXISTS (SELECT 1 FROM claim_report WHERE claim_report.shard = ?)`,
    [shard, shard, shard],
  );
  return released.affectedRows;
}

/** Gives back the ranges of one coupon, by an operator's word. Returns how many. */
export async function releaseCoupon(connection: Queryable, couponId: string): Promise<number> {
  const [released] = await connection.query<ResultSetHeader>(
    'UPDATE coupon_withheld SET released_at = UTC_TIMESTAMP(3) WHERE coupon_id = ? AND released_at IS NULL',
    [couponId],
  );
  return released.affectedRows;
}
