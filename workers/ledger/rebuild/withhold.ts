// Which claim numbers of a shard's coupons are in doubt, and what each coupon begins with when it is loaded. MySQL only, a
// coupon at a time, in transactions under the lease.
import type { CouponRow } from '../../../coupons/coupon-table.js';
import {
  raiseCeilings,
  readCoupon,
  readCoupons,
  readStockLog,
  settleVersion,
  writeBase,
} from '../../../coupons/coupon-table.js';
import { readLetteredClaims } from '../../../coupons/dead-letters.js';
import type { LetteredClaims } from '../../../coupons/known-claims.js';
import { countKnown, readBeyondRows } from '../../../coupons/known-claims.js';
import { countVoids, deleteRanges, insertRange, readRanges } from '../../../coupons/withheld.js';
import type { Connection } from '../../../platform/mysql.js';
import type { Lease } from './lease.js';

/** Coupons of one step. */
const CHUNK = 1_000;

/** What the rebuilt coupon begins with. */
export interface CouponStanding {
  readonly row: CouponRow;
  readonly lettered: LetteredClaims;
  /** Numbers up to this one are used up. */
  readonly highest: number;
  readonly returned: number;
  /** Numbers up to the highest that have no row, and of these those whose units are kept back. */
  readonly voids: number;
  readonly withheld: number;
  /** Units that may be handed out. Negative: the ledger has more claims than were granted. */
  readonly remaining: number;
}

/** With the claims of the coupon that wait among the dead letters: nobody writes or settles one during a rebuild. */
export async function forEachCoupon(
  lease: Lease,
  work: (row: CouponRow, lettered: LetteredClaims) => Promise<void>,
): Promise<void> {
  const { mysql } = lease.context;
  const letters = await readLetteredClaims(mysql, lease.shard);
  for (let after = ''; ;) {
    const page = await readCoupons(mysql, { shard: lease.shard, after, limit: CHUNK });
    for (const row of page) {
      await work(row, await readBeyondRows(mysql, row.couponId, letters.get(row.couponId) ?? []));
      await lease.renew();
    }
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.couponId;
  }
}

/**
 * When somebody who may have answered is missing: for each coupon, all numbers without a row that Redis may have handed out
 * since it was last loaded are withheld. How far that goes is bounded by the ceiling, and by the stock there was.
 */
export async function withholdInDoubt(lease: Lease, missing: number): Promise<void> {
  // An earlier attempt may have broken off, and this one may have found more since.
  await lease.transaction((connection) => deleteRanges(connection, lease.shard, lease.openedEpoch));
  if (missing === 0) return;
  await forEachCoupon(lease, async ({ couponId }, lettered) => {
    await lease.transaction(async (connection) => {
      const row = await readCoupon(connection, couponId, 'FOR UPDATE');
      // Of these users heard only what MySQL had committed.
      if (row === undefined || row.ack === 'ledger' || row.archiveState === 'done') return;
      await withhold(lease, connection, row, lettered);
    });
  });
}

async function withhold(lease: Lease, connection: Connection, row: CouponRow, lettered: LetteredClaims): Promise<void> {
  const { couponId, baseNo, total, ceiling } = row;
  const all = await countKnown(connection, couponId, lettered);
  const since = await countKnown(connection, couponId, lettered, baseNo);
  const { withheld } = await countVoids(connection, couponId, lettered.claims);
  // More stock that was asked for may have been applied, and handed out, by a Redis that has forgotten it.
  const pending = row.appliedVersion < row.version;
  const change = pending ? await readStockLog(connection, couponId, { version: row.version }) : undefined;
  const stock = total - (all.claimed - since.claimed) + all.returned - withheld + Math.max(0, change?.delta ?? 0);
  const lastNo = Math.max(Math.min(ceiling, baseNo + stock), all.highestNo);
  const inDoubt = lastNo - baseNo - since.claimed;
  if (inDoubt <= 0) return;
  const { shard, openedEpoch: epoch } = lease;
  await insertRange(connection, { couponId, firstNo: baseNo + 1, lastNo, shard, epoch });
  lease.context.log.error(
    { couponId, shard, epoch, inDoubt },
    'claim numbers withheld: somebody who may have told users of them cannot be heard',
  );
}

/** Decides the change that the coupon may have pending, on the grounds of lua/change.lua, and says what it begins with. */
export async function settleCoupon(lease: Lease, couponId: string, lettered: LetteredClaims): Promise<CouponStanding> {
  return await lease.transaction(async (connection) => {
    const row = await readCoupon(connection, couponId, 'FOR UPDATE');
    if (row === undefined) throw new Error(`coupon ${couponId} vanished from MySQL`);
    const { highest, remaining } = await standingOf(connection, row, lettered);
    if (row.appliedVersion < row.version) {
      const delta = (await readStockLog(connection, couponId, { version: row.version }))?.delta ?? 0;
      const outcome = remaining + delta < 0 ? 'below_claimed' : 'applied';
      await settleVersion(connection, { couponId, version: row.version, outcome });
    }
    await raiseCeilings(connection, new Map([[couponId, highest + lease.context.ledgerWindow]]));
    await writeBase(connection, couponId, highest);
    return await standingOf(connection, (await readCoupon(connection, couponId)) ?? row, lettered);
  });
}

async function standingOf(connection: Connection, row: CouponRow, lettered: LetteredClaims): Promise<CouponStanding> {
  const { claimed, returned, highestNo } = await countKnown(connection, row.couponId, lettered);
  const ranges = await readRanges(connection, row.couponId);
  const { voids, withheld } = await countVoids(connection, row.couponId, lettered.claims);
  const highest = Math.max(highestNo, ranges.at(-1)?.lastNo ?? 0);
  return { row, lettered, highest, returned, voids, withheld, remaining: row.total - claimed + returned - withheld };
}
