// Rows of coupon and coupon_stock_log: reading definitions, asking for a change, settling its outcome. MySQL only.
import type { Queryable, ResultSetHeader, RowDataPacket } from '../platform/mysql.js';
import type { Ack, CouponDefinition } from './definition.js';
import type { ChangeOutcome } from './outbox.js';
import { StampedeError } from '../platform/errors.js';

/** Keeps a statement of ids of 64 bytes well below every limit of its length. */
const CEILINGS_PER_STATEMENT = 500;

export interface CouponRow extends CouponDefinition {
  readonly shard: number;
  /** What operators asked for … */
  readonly version: number;
  /** … and what Redis is known to have done: the same, or one less while a change is pending. */
  readonly appliedVersion: number;
  readonly ceiling: number;
  /** The highest claim number when it was last loaded into Redis. */
  readonly baseNo: number;
  readonly createdAs: string;
  readonly createdAt: number;
  readonly archiveState: ArchiveState;
  /** Epoch milliseconds; null for one that is not archived. */
  readonly archivedAt: number | null;
}

/** `begun`: no change is taken any more. `done`: Redis holds the definition only. */
export type ArchiveState = 'none' | 'begun' | 'done';

export interface StockLogRow {
  readonly couponId: string;
  readonly version: number;
  readonly delta: number;
  readonly reason: string;
  readonly requestedBy: string;
  readonly idempotencyKey: string;
  readonly status: 'pending' | ChangeOutcome;
  readonly requestedAt: number;
}

/** With `FOR UPDATE` (in a transaction) nobody else can ask for a change meanwhile. */
export async function readCoupon(
  connection: Queryable,
  couponId: string,
  lock: '' | 'FOR UPDATE' = '',
): Promise<CouponRow | undefined> {
  const [rows] = await connection.query<RowDataPacket[]>(`SELECT * FROM coupon WHERE coupon_id = ? ${lock}`, [
    couponId,
  ]);
  return rows[0] && couponRow(rows[0]);
}

/** Coupons by id, ascending, of one shard or of all. */
export async function readCoupons(
  connection: Queryable,
  page: { shard?: number; after: string; limit: number },
): Promise<CouponRow[]> {
  const inShard = page.shard === undefined ? '' : 'shard = ? AND';
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT * FROM coupon WHERE ${inShard} coupon_id > ? ORDER BY coupon_id LIMIT ?`,
    [...(page.shard === undefined ? [] : [page.shard]), page.after, page.limit],
  );
  return rows.map(couponRow);
}

export async function readNewestCoupons(connection: Queryable, limit: number): Promise<CouponRow[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    'SELECT * FROM coupon ORDER BY created_at DESC, coupon_id LIMIT ?',
    [limit],
  );
  return rows.map(couponRow);
}

/** Ids of some coupons with a change that was asked for and is not known to be applied; others another time. */
export async function readUnfinished(connection: Queryable, limit: number): Promise<string[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    'SELECT coupon_id FROM coupon WHERE applied_version < version ORDER BY RAND() LIMIT ?',
    [limit],
  );
  return rows.map((row) => String(row['coupon_id']));
}

export async function insertCoupon(connection: Queryable, row: CouponRow): Promise<void> {
  await connection.query<ResultSetHeader>('INSERT INTO coupon SET ?', [
    {
      coupon_id: row.couponId,
      shard: row.shard,
      version: row.version,
      applied_version: row.appliedVersion,
      total: row.total,
      ...definitionColumns(row),
      ack: row.ack,
      returnable: row.returnable,
      ceiling: row.ceiling,
      base_no: row.baseNo,
      created_as: row.createdAs,
      created_at: new Date(row.createdAt),
    },
  ]);
}

/** Asks for the next version of a coupon whose row is locked and settled. Throws `archived`. */
export async function writeNextVersion(
  connection: Queryable,
  row: CouponRow,
  definition: Pick<CouponDefinition, 'paused' | 'opensAt' | 'closesAt'>,
): Promise<void> {
  if (row.archiveState !== 'none') throw new StampedeError('archived');
  await connection.query<ResultSetHeader>('UPDATE coupon SET ? WHERE coupon_id = ?', [
    { version: row.version + 1, ...definitionColumns(definition) },
    row.couponId,
  ]);
}

export async function insertStockLog(connection: Queryable, row: StockLogRow): Promise<void> {
  await connection.query<ResultSetHeader>('INSERT INTO coupon_stock_log SET ?', [
    {
      coupon_id: row.couponId,
      version: row.version,
      delta: row.delta,
      reason: row.reason,
      requested_by: row.requestedBy,
      idempotency_key: row.idempotencyKey,
      status: row.status,
      requested_at: new Date(row.requestedAt),
    },
  ]);
}

export async function readStockLog(
  connection: Queryable,
  couponId: string,
  by: { version: number } | { idempotencyKey: string },
): Promise<StockLogRow | undefined> {
  const [column, value] = 'version' in by ? ['version', by.version] : ['idempotency_key', by.idempotencyKey];
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT * FROM coupon_stock_log WHERE coupon_id = ? AND ${column} = ?`,
    [couponId, value],
  );
  return rows[0] && stockLogRow(rows[0]);
}

/**
 * Writes down the outcome of a version, in the caller's transaction. Both the admin who asked and the ledger who read the
 * outbox do this, in any order: the second one changes nothing.
 */
export async function settleVersion(
  connection: Queryable,
  change: { couponId: string; version: number; outcome: ChangeOutcome },
): Promise<void> {
  const { couponId, version, outcome } = change;
  const [first] = await connection.query<ResultSetHeader>(
    'UPDATE coupon SET applied_version = ? WHERE coupon_id = ? AND applied_version = ?',
    [version, couponId, version - 1],
  );
  if (first.affectedRows === 0) return;
  await connection.query<ResultSetHeader>(
    'UPDATE coupon_stock_log SET status = ? WHERE coupon_id = ? AND version = ?',
    [outcome, couponId, version],
  );
  if (outcome !== 'applied') return;
  await connection.query<ResultSetHeader>(
    `UPDATE coupon JOIN coupon_stock_log USING (coupon_id) SET total = total + delta
      WHERE coupon.coupon_id = ? AND coupon_stock_log.version = ?`,
    [couponId, version],
  );
}

/** True when MySQL has this version as applied, with this outcome. */
export async function isSettledAs(
  connection: Queryable,
  change: { couponId: string; version: number; outcome: ChangeOutcome },
): Promise<boolean> {
  const { couponId, version, outcome } = change;
  const row = await readCoupon(connection, couponId);
  if (row === undefined || row.appliedVersion < version) return false;
  const logged = await readStockLog(connection, couponId, { version });
  return logged === undefined ? outcome === 'applied' : logged.status === outcome;
}

/** Moves the coupon from one state to another; does nothing when it is in a third. */
export async function markArchived(
  connection: Queryable,
  couponId: string,
  from: ArchiveState,
  to: ArchiveState,
): Promise<void> {
  await connection.query<ResultSetHeader>(
    `UPDATE coupon SET archived_at = IF(? = 'none', NULL, COALESCE(archived_at, UTC_TIMESTAMP(3))), archive_state = ?
      WHERE coupon_id = ? AND archive_state = ?`,
    [to, to, couponId, from],
  );
}

/**
 * Raises the ceilings after grants were written; never lowers one. One statement for many coupons: one for each was most of what a
 * batch cost MySQL when a thousand coupons were claimed at a time. In the order of the ids, against deadlocks.
 */
export async function raiseCeilings(connection: Queryable, ceilings: ReadonlyMap<string, number>): Promise<void> {
  const couponIds = [...ceilings.keys()].sort();
  for (let first = 0; first < couponIds.length; first += CEILINGS_PER_STATEMENT) {
    const ids = couponIds.slice(first, first + CEILINGS_PER_STATEMENT);
    await connection.query<ResultSetHeader>(
      `UPDATE coupon SET ceiling = GREATEST(ceiling, CAST(ELT(FIELD(coupon_id, ?), ?) AS UNSIGNED))
        WHERE coupon_id IN (?) ORDER BY coupon_id`,
      [ids, ids.map((id) => ceilings.get(id)), ids],
    );
  }
}

/** Numbers up to this one are used up when the coupon is loaded. */
export async function writeBase(connection: Queryable, couponId: string, baseNo: number): Promise<void> {
  await connection.query<ResultSetHeader>('UPDATE coupon SET base_no = ? WHERE coupon_id = ?', [baseNo, couponId]);
}

function definitionColumns(definition: Pick<CouponDefinition, 'paused' | 'opensAt' | 'closesAt'>) {
  return {
    paused: definition.paused,
    opens_at: definition.opensAt === null ? null : new Date(definition.opensAt),
    closes_at: definition.closesAt === null ? null : new Date(definition.closesAt),
  };
}

export function couponRow(row: RowDataPacket): CouponRow {
  return {
    couponId: String(row['coupon_id']),
    shard: Number(row['shard']),
    version: Number(row['version']),
    appliedVersion: Number(row['applied_version']),
    total: Number(row['total']),
    opensAt: (row['opens_at'] as Date | null)?.getTime() ?? null,
    closesAt: (row['closes_at'] as Date | null)?.getTime() ?? null,
    paused: Boolean(row['paused']),
    ack: row['ack'] as Ack,
    returnable: Boolean(row['returnable']),
    ceiling: Number(row['ceiling']),
    baseNo: Number(row['base_no']),
    createdAs: String(row['created_as']),
    createdAt: (row['created_at'] as Date).getTime(),
    archiveState: row['archive_state'] as ArchiveState,
    archivedAt: (row['archived_at'] as Date | null)?.getTime() ?? null,
  };
}

function stockLogRow(row: RowDataPacket): StockLogRow {
  return {
    couponId: String(row['coupon_id']),
    version: Number(row['version']),
    delta: Number(row['delta']),
    reason: String(row['reason']),
    requestedBy: String(row['requested_by']),
    idempotencyKey: String(row['idempotency_key']),
    status: row['status'] as StockLogRow['status'],
    requestedAt: (row['requested_at'] as Date).getTime(),
  };
}
