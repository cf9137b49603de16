// Reconciliation: the audit, and repair of what can be repaired in a safe direction. Safe are two things only: to lower the
// remaining stock in Redis to what is left of the total, and to put a row that MySQL is missing into the outbox again, from the
// receipt that Redis has. Everything else is told, and left to a person.
import type { ChangeContext } from './changes.js';
import { audit } from './audit.js';
import type { Defect } from './audit-findings.js';
import { numberKey, readRows } from './claim-log.js';
import type { AuditReport } from './coupons.js';
import { readLetteredClaims } from './dead-letters.js';
import { isUserId } from './ids.js';
import { couponKeys, fenceKey } from './keys.js';
import { fieldsOf } from './outbox.js';
import { parseReceipt } from './receipt.js';
import { requeue } from './requeue.js';
import { runScript } from '../lua/scripts.js';
import type { Log } from '../platform/log.js';
import type { Queryable, ResultSetHeader, RowDataPacket } from '../platform/mysql.js';

/** Receipts of one look at Redis. */
const SCAN_COUNT = 1_000;
/** Rows put into the outbox again in one reconciliation; the next one goes on. */
const REQUEUED_MAX = 10_000;
const REPAIRS_STORED_MAX = 100;

export interface Repair {
  readonly kind: 'stock_lowered' | 'row_requeued' | 'return_requeued';
  readonly couponId: string;
  /** One sentence for the log. */
  readonly what: string;
}

export interface Reconciliation {
  readonly report: AuditReport;
  readonly repairs: readonly Repair[];
}

export interface StoredReconciliation extends Reconciliation {
  /** Epoch milliseconds. */
  readonly finishedAt: number;
}

/** The latest one of any instance, undefined before the first. */
export async function readReconciliation(connection: Queryable): Promise<StoredReconciliation | undefined> {
  const [rows] = await connection.query<RowDataPacket[]>('SELECT finished_at, result FROM reconciliation WHERE id = 1');
  if (rows[0] === undefined) return undefined;
  const result = JSON.parse(String(rows[0]['result'])) as Reconciliation;
  return { ...result, finishedAt: (rows[0]['finished_at'] as Date).getTime() };
}

/** Tells the result to the log and to MySQL. Throws what the audit throws: `fenced` or `unavailable` when a shard cannot be read. */
export async function reconcile(
  context: ChangeContext & { log: Log; onProgress?: (done: number, of: number) => void },
): Promise<Reconciliation> {
  const defects: Defect[] = [];
  const onDefect = (defect: Defect): void => void defects.push(defect);
  const report = await audit({ ...context, onProgress: context.onProgress ?? (() => undefined), onDefect });
  const repairs: Repair[] = [];
  for (const defect of defects) {
    const made =
      defect.kind === 'surplus_stock'
        ? await lowerStock(context, defect)
        : await requeueMissing(context, defect, REQUEUED_MAX - repairs.length);
    for (const repair of made) context.log.warn({ ...repair }, 'repaired');
    repairs.push(...made);
  }
  await context.mysql.query<ResultSetHeader>('REPLACE INTO reconciliation VALUES (1, UTC_TIMESTAMP(3), ?)', [
    Buffer.from(JSON.stringify({ report, repairs: repairs.slice(0, REPAIRS_STORED_MAX) })),
  ]);
  return { report, repairs };
}

async function lowerStock(context: ChangeContext, { shard, couponId }: Defect): Promise<Repair[]> {
  const { redis, scripts, shards } = context;
  const keys = couponKeys(shard, couponId);
  const [by = 0, remaining] = (await runScript(
    redis,
    scripts.lower_stock,
    [fenceKey(shard), keys.coupon, keys.stock, keys.claimedUser],
    [shards.epochOf(shard) ?? 0, couponId],
  )) as number[];
  if (by <= 0) return [];
  return [{ kind: 'stock_lowered', couponId, what: `remaining stock lowered by ${by} to ${remaining}` }];
}

/**
 * Every receipt of the coupon whose row, or whose mark of a return, is missing and no dead letter. One that is on its way comes
 * twice, harmlessly.
 */
async function requeueMissing(context: ChangeContext, { shard, couponId }: Defect, most: number): Promise<Repair[]> {
  const { redis, shards, mysql } = context;
  const epoch = shards.epochOf(shard) ?? 0;
  const lettered = (await readLetteredClaims(mysql, shard)).get(couponId) ?? [];
  const put = new Set(lettered.map(({ kind, claimNo }) => `${kind} ${claimNo}`));
  const repairs: Repair[] = [];
  for (let cursor = '0'; ;) {
    const [next, flat] = await redis.hscanBuffer(couponKeys(shard, couponId).claimedUser, cursor, 'COUNT', SCAN_COUNT);
    const receipts = receiptsOf(couponId, flat);
    const rows = receipts.length === 0 ? new Map<string, never>() : await readRows(mysql, receipts);
    for (const { claimNo, userId, claimedAt, returnedAt } of receipts) {
      if (repairs.length >= most) return repairs;
      const row = rows.get(numberKey({ couponId, claimNo }));
      const base = { id: '', couponId, claimNo, userId, epoch };
      if (row === undefined && !put.has(`grant ${claimNo}`)) {
        await requeue(context, shard, fieldsOf({ ...base, kind: 'grant', at: claimedAt }));
        repairs.push({ kind: 'row_requeued', couponId, what: `number ${claimNo} put into the outbox again` });
      }
      const marked = row?.returnedAt != null || put.has(`return ${claimNo}`);
      if (returnedAt !== null && !marked && (row?.userId ?? userId) === userId) {
        await requeue(context, shard, fieldsOf({ ...base, kind: 'return', at: returnedAt }));
        repairs.push({
          kind: 'return_requeued',
          couponId,
          what: `return of number ${claimNo} put into the outbox again`,
        });
      }
    }
    cursor = next.toString();
    if (cursor === '0') return repairs;
  }
}

/** `flat`: users and their receipts in turn. */
function receiptsOf(couponId: string, flat: readonly Buffer[]) {
  const receipts = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const userId = String(flat[i]);
    const receipt = parseReceipt(flat[i + 1] ?? Buffer.of());
    if (receipt !== undefined && isUserId(userId)) receipts.push({ couponId, userId, ...receipt });
  }
  return receipts;
}
