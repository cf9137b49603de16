// Rows of worker, worker_epoch and claim_report: who may have answered claims under which epoch of a shard, and what they
// say when that epoch is over. MySQL only. The protocol is told in docs/protocol.md.
//
// A row of worker_epoch orders two things that may happen at once: a worker that reports, and a rebuild that decides not to
// wait for it any longer. Both take a lock on the shard's row first.
import type { Pool, Queryable, ResultSetHeader, RowDataPacket } from '../platform/mysql.js';
import { inTransaction } from '../platform/mysql.js';
import type { FleetProcess } from '../platform/process-identity.js';
import type { Grant } from './claim-log.js';
import { lockShards } from './shards.js';

/** Rows of one INSERT. */
const CHUNK = 1_000;

export interface Witness {
  /** Different for every process that ever was. */
  readonly worker: string;
  readonly process: FleetProcess;
}

/** A claim that somebody was told, and the time of its return where they were told of that. */
export interface ReportedClaim extends Grant {
  /** Epoch milliseconds. */
  readonly returnedAt: number | undefined;
  /** Of the report's row. */
  readonly id: string;
}

/** May be repeated. */
export async function insertWorker(connection: Queryable, witness: Witness, name: string): Promise<void> {
  const { place, pid, startTicks } = witness.process;
  await connection.query<ResultSetHeader>('INSERT IGNORE INTO worker VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(3))', [
    witness.worker,
    name,
    place,
    pid,
    startTicks,
  ]);
}

/** From now on a rebuild of the shard asks for this worker. The caller holds a lock on the shard's row. May be repeated. */
export async function registerEpochs(
  connection: Queryable,
  worker: string,
  shards: readonly { readonly shard: number; readonly epoch: number }[],
): Promise<void> {
  if (shards.length === 0) return;
  await connection.query<ResultSetHeader>('INSERT IGNORE INTO worker_epoch (shard, epoch, worker, state) VALUES ?', [
    shards.map(({ shard, epoch }) => [shard, epoch, worker, 'registered']),
  ]);
}

/**
 * What a worker holds of one epoch that is over. The caller holds a lock on the shard's row. May be repeated: a claim that
 * is reported twice is recognised.
 */
export async function insertReport(
  connection: Queryable,
  report: { worker: string; shard: number; epoch: number; claims: readonly Omit<ReportedClaim, 'id' | 'epoch'>[] },
): Promise<void> {
  const { worker, shard, epoch, claims } = report;
  for (let first = 0; first < claims.length; first += CHUNK) {
    await connection.query<ResultSetHeader>(
      `INSERT INTO claim_report (shard, epoch, worker, coupon_id, claim_no, user_id, claimed_at, returned_at)
       VALUES ?`,
      [claims.slice(first, first + CHUNK).map((claim) => [shard, epoch, worker, ...reportColumns(claim)])],
    );
  }
  await connection.query<ResultSetHeader>(
    "UPDATE worker_epoch SET state = 'reported' WHERE shard = ? AND epoch = ? AND worker = ?",
    [shard, epoch, worker],
  );
}

/**
 * What somebody holds of a shard who told nobody of it, such as a ledger that has read entries: it is taken where it can still
 * matter, and nobody waits for it. In a transaction of its own.
 */
export async function insertLeftovers(
  mysql: Pool,
  report: { worker: string; shard: number; epoch: number; claims: readonly Omit<ReportedClaim, 'id' | 'epoch'>[] },
): Promise<void> {
  const { shard, epoch } = report;
  await inTransaction(mysql, async (connection) => {
    const [row] = await lockShards(connection, [shard]);
    const [ranges] = await connection.query<RowDataPacket[]>(
      'SELECT 1 FROM coupon_withheld WHERE shard = ? AND epoch = ? AND released_at IS NULL LIMIT 1',
      [shard, epoch],
    );
    const settled = row !== undefined && row.gatheredEpoch >= epoch;
    if (!settled || ranges.length > 0) await insertReport(connection, report);
  });
}

function reportColumns({ couponId, claimNo, userId, at, returnedAt }: Omit<ReportedClaim, 'id' | 'epoch'>): unknown[] {
  const returned = returnedAt === undefined ? null : new Date(returnedAt);
  return [couponId, claimNo, Buffer.from(userId), new Date(at), returned];
}

/**
 * Closes the open shards for which something was reported that their rebuild did not wait for, so that they are rebuilt with
 * it: claims, or the word of the last one who was missing. Returns how many.
 */
export async function closeForLateReports(connection: Queryable): Promise<number> {
  const [closed] = await connection.query<ResultSetHeader>(
    `UPDATE shard SET state = 'fenced', updated_at = UTC_TIMESTAMP(3) WHERE state = 'open' AND (
       EXISTS (SELECT 1 FROM claim_report AS r WHERE r.shard = shard.shard)
       OR EXISTS (SELECT 1 FROM coupon_withheld AS w WHERE w.shard = shard.shard AND released_at IS NULL AND NOT EXISTS
           (SELECT 1 FROM worker_epoch AS e WHERE e.shard = w.shard AND e.epoch = w.epoch AND e.state <> 'reported')))`,
  );
  return closed.affectedRows;
}

/** A worker that holds nothing unconfirmed and answers nothing more. */
export async function removeWorker(connection: Queryable, worker: string): Promise<void> {
  await connection.query<ResultSetHeader>('DELETE FROM worker_epoch WHERE worker = ?', [worker]);
  await connection.query<ResultSetHeader>('DELETE FROM worker WHERE worker = ?', [worker]);
}

export interface Attendance extends Witness {
  readonly shard: number;
  readonly epoch: number;
}

/** Those of whom nothing has been heard: of one epoch of a shard, or of all that are current. */
export async function readSilent(
  connection: Queryable,
  of: { shard: number; epoch: number } | 'current epochs',
): Promise<Attendance[]> {
  const condition = of === 'current epochs' ? "s.state = 'open' AND s.epoch = e.epoch" : 'e.shard = ? AND e.epoch = ?';
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT e.worker, e.shard, e.epoch, w.place, w.pid, w.start_ticks
       FROM worker_epoch AS e JOIN shard AS s USING (shard) JOIN worker AS w USING (worker)
      WHERE ${condition} AND e.state <> 'reported'`,
    of === 'current epochs' ? [] : [of.shard, of.epoch],
  );
  return rows.map((row) => ({
    worker: String(row['worker']),
    shard: Number(row['shard']),
    epoch: Number(row['epoch']),
    process: { place: String(row['place']), pid: Number(row['pid']), startTicks: String(row['start_ticks']) },
  }));
}

/** Whoever has not reported by now may come late. The caller holds the lease. Returns how many of that epoch are missing. */
export async function markMissed(connection: Queryable, shard: number, epoch: number): Promise<number> {
  await connection.query<ResultSetHeader>(
    "UPDATE worker_epoch SET state = 'missed' WHERE shard = ? AND epoch = ? AND state = 'registered'",
    [shard, epoch],
  );
  const [rows] = await connection.query<RowDataPacket[]>(
    "SELECT COUNT(*) AS missing FROM worker_epoch WHERE shard = ? AND epoch = ? AND state = 'missed'",
    [shard, epoch],
  );
  return Number(rows[0]?.['missing']);
}

/** A dead worker with nothing unconfirmed under this epoch. */
export async function retire(connection: Queryable, { worker, shard, epoch }: Attendance): Promise<void> {
  await connection.query<ResultSetHeader>(
    "DELETE FROM worker_epoch WHERE worker = ? AND shard = ? AND epoch = ? AND state = 'registered'",
    [worker, shard, epoch],
  );
}

/** Epochs of a shard that nobody is asked about any more, and workers that are registered for none and had the time. */
export async function forgetEpochs(connection: Queryable, shard: number, beforeEpoch: number): Promise<void> {
  await connection.query<ResultSetHeader>(
    `DELETE FROM worker_epoch WHERE shard = ? AND epoch < ? AND epoch NOT IN
       (SELECT epoch FROM coupon_withheld WHERE shard = ? AND released_at IS NULL)`,
    [shard, beforeEpoch, shard],
  );
  await connection.query<ResultSetHeader>(
    `DELETE FROM worker WHERE registered_at < UTC_TIMESTAMP(3) - INTERVAL 1 DAY
       AND NOT EXISTS (SELECT 1 FROM worker_epoch WHERE worker_epoch.worker = worker.worker)`,
  );
}

/** A page of what was reported for a shard, of one epoch or of all others, oldest first. */
export async function readReports(
  connection: Queryable,
  shard: number,
  page: { epoch: number; others: boolean; after: string; limit: number },
): Promise<ReportedClaim[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT * FROM claim_report WHERE shard = ? AND id > ? AND epoch ${page.others ? '<>' : '='} ? ORDER BY id LIMIT ?`,
    [shard, page.after, page.epoch, page.limit],
  );
  return rows.map((row) => ({
    id: String(row['id']),
    couponId: String(row['coupon_id']),
    claimNo: Number(row['claim_no']),
    userId: String(row['user_id']),
    at: (row['claimed_at'] as Date).getTime(),
    returnedAt: (row['returned_at'] as Date | null)?.getTime(),
    epoch: Number(row['epoch']),
  }));
}

export async function deleteReports(connection: Queryable, reports: readonly ReportedClaim[]): Promise<void> {
  await connection.query<ResultSetHeader>('DELETE FROM claim_report WHERE id IN (?)', [reports.map(({ id }) => id)]);
}
