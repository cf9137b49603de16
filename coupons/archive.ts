// Archiving: a coupon that ended long ago leaves Redis, but for a small definition that says so. Its claims are in MySQL.
//
//   1. verify   every row of MySQL is the receipt that Redis has, and there are as many;
//   2. begin    the coupon is marked `begun` in MySQL, under the lock that changes take: from here on it cannot be changed;
//   3. switch   lua/archive.lua lets stock and receipts go, if the numbers are still those that were verified;
//   4. done     MySQL knows: a rebuild of the shard loads the definition only.
//
// A crash after any step leaves a coupon that is served as before, or as an archived one; the next run goes on. When step 3
// finds other numbers (a claim was given back meanwhile), the mark is taken away again.
import type { ChangeContext } from './changes.js';
import { readClaims } from './claim-log.js';
import type { CouponRow } from './coupon-table.js';
import { markArchived, readCoupon } from './coupon-table.js';
import { couponKeys, fenceKey } from './keys.js';
import { isSameReceipt, readReceipts } from './receipt.js';
import { CODE } from '../lua/codes.js';
import type { ScriptName } from '../lua/scripts.js';
import { runScript } from '../lua/scripts.js';
import { StampedeError } from '../platform/errors.js';
import type { RowDataPacket } from '../platform/mysql.js';
import { inTransaction } from '../platform/mysql.js';

const PAGE = 1_000;

/** Ids of some coupons that ended at least `afterMs` ago and are not archived; others another time. */
export async function readArchivable(context: ChangeContext, afterMs: number, limit: number): Promise<string[]> {
  const [rows] = await context.mysql.query<RowDataPacket[]>(
    `SELECT coupon_id FROM coupon
      WHERE archive_state <> 'done' AND applied_version = version
        AND closes_at <= UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND
        AND NOT EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.coupon_id = coupon.coupon_id)
      ORDER BY RAND() LIMIT ?`,
    [afterMs * 1_000, limit],
  );
  return rows.map((row) => String(row['coupon_id']));
}

/** False when it cannot be archived now: something of it is on its way, or does not agree. Throws `fenced`. */
export async function archiveCoupon(context: ChangeContext, couponId: string): Promise<boolean> {
  const { mysql } = context;
  await context.shards.refresh();
  const row = await readCoupon(mysql, couponId);
  if (row === undefined || row.archiveState === 'done') return false;
  const verified = await verify(context, row);
  if (verified === undefined || !(await begin(context, row))) return false;
  const switched = await run(context, row, 'archive', [row.version, verified.claims, verified.returned]);
  if (switched === CODE.FENCED) throw new StampedeError('fenced');
  await markArchived(mysql, couponId, 'begun', switched === 0 ? 'done' : 'none');
  return switched === 0;
}

/** How many claims were found to be the same on both sides; undefined when they are not. */
async function verify(
  context: ChangeContext,
  row: CouponRow,
): Promise<{ claims: number; returned: number } | undefined> {
  const { mysql, redis } = context;
  const [code] = (await run(context, row, 'view', [])) as number[];
  if (code === CODE.FENCED) throw new StampedeError('fenced');
  // By a run that died after its third step.
  const switched = code === CODE.ARCHIVED;
  const key = couponKeys(row.shard, row.couponId).claimedUser;
  let [claims, returned] = [0, 0];
  for (let after = 0; ;) {
    const page = await readClaims(mysql, row.couponId, { after, limit: PAGE });
    const last = page.at(-1);
    if (last === undefined) return { claims, returned };
    after = last.claimNo;
    claims += page.length;
    returned += page.filter(({ returnedAt }) => returnedAt !== null).length;
    if (switched) continue;
    const receipts = await readReceipts(redis, key, page);
    if (page.some((claim, i) => !isSameReceipt(receipts[i], claim))) return undefined;
  }
}

/** False when the coupon was changed since `row` was read. */
async function begin(context: ChangeContext, row: CouponRow): Promise<boolean> {
  return await inTransaction(context.mysql, async (connection) => {
    const now = await readCoupon(connection, row.couponId, 'FOR UPDATE');
    if (now?.version !== row.version || now.appliedVersion !== row.version) return false;
    await markArchived(connection, row.couponId, 'none', 'begun');
    return true;
  });
}

async function run(
  { redis, scripts, shards }: ChangeContext,
  { shard, couponId }: CouponRow,
  name: ScriptName,
  rest: readonly number[],
): Promise<unknown> {
  const keys = couponKeys(shard, couponId);
  return await runScript(
    redis,
    scripts[name],
    [fenceKey(shard), keys.coupon, keys.stock, keys.claimedUser],
    [shards.epochOf(shard) ?? 0, couponId, ...rest],
  );
}
