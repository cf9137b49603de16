// Step 4 of a rebuild: the coupons of the shard go from MySQL to Redis, each beginning with empty keys, and the change that
// each may have pending is settled. Nothing here invents stock: what remains is the total less the rows that are not returned.
import { receiptOf } from '../../../coupons/claim-log.js';
import type { CouponRow } from '../../../coupons/coupon-table.js';
import { readCoupon, readCoupons, readStockLog, settleVersion } from '../../../coupons/coupon-table.js';
import { readLetteredClaims } from '../../../coupons/dead-letters.js';
import type { LetteredClaims } from '../../../coupons/known-claims.js';
import { countHeld, countRows, readBeyondRows, readKnownClaims } from '../../../coupons/known-claims.js';
import { couponKeys, fenceKey } from '../../../coupons/keys.js';
import { CODE } from '../../../lua/codes.js';
import type { Lease } from './lease.js';

/** Rows or coupons of one step. A load script with 1,000 pairs stays far below Lua's limit on arguments. */
const CHUNK = 1_000;

export interface Loaded {
  coupons: number;
  claims: number;
  /** Epoch milliseconds of the latest claim or return. */
  latest: number;
}

export async function loadCoupons(lease: Lease): Promise<Loaded> {
  const loaded = { coupons: 0, claims: 0, latest: 0 };
  // Nobody else writes or settles one while the shard is being rebuilt.
  const letters = await readLetteredClaims(lease.context.mysql, lease.shard);
  for (let after = ''; ;) {
    const page = await readCoupons(lease.context.mysql, { shard: lease.shard, after, limit: CHUNK });
    for (const row of page) {
      const { couponId, archiveState } = row;
      if (archiveState === 'done') {
        await loadArchived(lease, row, loaded);
        continue;
      }
      const lettered = await readBeyondRows(lease.context.mysql, couponId, letters.get(couponId) ?? []);
      await loadCoupon(lease, await settlePending(lease, couponId, lettered), lettered, loaded);
      await lease.renew();
    }
    const last = page.at(-1);
    if (last === undefined) return loaded;
    after = last.couponId;
  }
}

/**
 * A change that was asked for and whose outcome nobody knows: the outbox is empty by now, so Redis either never saw it or
 * has forgotten it. Decided here and now, on the same grounds as in lua/change.lua.
 */
async function settlePending(lease: Lease, couponId: string, lettered: LetteredClaims): Promise<CouponRow> {
  return await lease.transaction(async (connection) => {
    const row = await readCoupon(connection, couponId, 'FOR UPDATE');
    if (row === undefined) throw new Error(`coupon ${couponId} vanished from MySQL`);
    if (row.appliedVersion === row.version) return row;
    const change = await readStockLog(connection, couponId, { version: row.version });
    const remaining = row.total - (await countHeld(connection, couponId, lettered));
    const outcome = remaining + (change?.delta ?? 0) < 0 ? 'below_claimed' : 'applied';
    await settleVersion(connection, { couponId, version: row.version, outcome });
    return (await readCoupon(connection, couponId)) ?? row;
  });
}

async function loadCoupon(lease: Lease, row: CouponRow, lettered: LetteredClaims, loaded: Loaded): Promise<void> {
  const { mysql } = lease.context;
  const fence = fenceKey(lease.shard);
  const keys = couponKeys(lease.shard, row.couponId);
  const all = [fence, keys.coupon, keys.stock, keys.claimedUser];
  await lease.run('load_begin', all);
  let claims = 0;
  let returned = 0;
  for await (const page of readKnownClaims(mysql, row.couponId, lettered, CHUNK)) {
    claims += page.length;
    const highest = page.at(-1)?.claimNo;
    // Numbers are handed out without gaps: a row is missing, and what the others are worth is for a person to say.
    if (highest !== claims) {
      await leaveClosed(lease, row.couponId, `${claims} claims up to number ${highest}`, loaded);
      return;
    }
    const pairs = page.flatMap((claim) => [claim.userId, receiptOf(claim)]);
    await lease.run('load_receipts', [fence, keys.claimedUser], pairs);
    await lease.renew();
    returned += page.filter((claim) => claim.returnedAt !== null).length;
    loaded.latest = Math.max(loaded.latest, ...page.map((claim) => claim.returnedAt ?? claim.claimedAt));
  }
  const held = claims - returned;
  if (row.total < held) {
    await leaveClosed(lease, row.couponId, `${held} claims of ${row.total}`, loaded);
    return;
  }
  const outcome = (await readStockLog(mysql, row.couponId, { version: row.version }))?.status ?? 'applied';
  await lease.run('load_finish', all, [
    row.couponId,
    claims,
    row.total - held,
    row.version,
    outcome === 'below_claimed' ? CODE.BELOW_CLAIMED : 0,
    row.paused ? 1 : 0,
    row.opensAt ?? '',
    row.closesAt ?? '',
    row.ack,
    row.total,
    row.ceiling,
    row.returnable ? 1 : 0,
    returned,
  ]);
  loaded.coupons++;
  loaded.claims += claims;
}

/** Its claims stay where they are: the definition says that they are to be looked for in MySQL. */
async function loadArchived(lease: Lease, row: CouponRow, loaded: Loaded): Promise<void> {
  const { couponId, version, paused, opensAt, closesAt, ack, total, ceiling, returnable } = row;
  const { highest, returned } = await countRows(lease.context.mysql, couponId);
  const keys = couponKeys(lease.shard, couponId);
  const fields = {
    ...{ version, outcome: 0, paused: paused ? 1 : 0, opens_at: opensAt ?? '', closes_at: closesAt ?? '', ack, total },
    ...{ highest, ceiling, returned, returnable: returnable ? 1 : 0 },
  };
  const all = [fenceKey(lease.shard), keys.coupon, keys.stock, keys.claimedUser];
  await lease.run('load_archived', all, [couponId, ...Object.entries(fields).flat()]);
  await lease.renew();
  loaded.coupons++;
}

/** A coupon that cannot be right must not keep its shard closed: it alone answers `fenced`, and the log says why. */
async function leaveClosed(lease: Lease, couponId: string, why: string, loaded: Loaded): Promise<void> {
  const keys = couponKeys(lease.shard, couponId);
  const all = [fenceKey(lease.shard), keys.coupon, keys.stock, keys.claimedUser];
  await lease.run('load_closed', all, [couponId]);
  loaded.coupons++;
  lease.context.log.error({ couponId, shard: lease.shard }, `coupon stays closed: the ledger has ${why}`);
}
