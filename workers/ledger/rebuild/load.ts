// Step 5 of a rebuild: the coupons of the shard go from MySQL to Redis, each beginning with empty keys. Nothing here invents
// stock: what remains is the total less the claims that are not returned, and less what is withheld.
import { readStockLog } from '../../../coupons/coupon-table.js';
import { readKnownClaims } from '../../../coupons/known-claims.js';
import { couponKeys, fenceKey } from '../../../coupons/keys.js';
import { CODE } from '../../../lua/codes.js';
import type { Lease } from './lease.js';
import type { CouponStanding } from './withhold.js';
import { forEachCoupon, settleCoupon } from './withhold.js';

/** Rows of one step. The load script's 2,000 names and values stay far below Lua's limit on arguments. */
const CHUNK = 1_000;

export interface Loaded {
  coupons: number;
  claims: number;
  withheld: number;
  /** Epoch milliseconds of the latest claim or return. */
  latest: number;
}

export async function loadCoupons(lease: Lease): Promise<Loaded> {
  const loaded = { coupons: 0, claims: 0, withheld: 0, latest: 0 };
  await forEachCoupon(lease, async (row, lettered) => {
    const archived = row.archiveState === 'done';
    const standing = await settleCoupon(lease, row.couponId, lettered);
    await (archived ? loadArchived(lease, standing, loaded) : loadCoupon(lease, standing, loaded));
  });
  return loaded;
}

async function loadCoupon(lease: Lease, standing: CouponStanding, loaded: Loaded): Promise<void> {
  const { mysql } = lease.context;
  const { row, lettered, highest, voids, withheld, remaining } = standing;
  const fence = fenceKey(lease.shard);
  const keys = couponKeys(lease.shard, row.couponId);
  const all = [fence, keys.coupon, keys.stock, keys.claimedUser];
  await lease.run('load_begin', all);
  let claims = 0;
  for await (const page of readKnownClaims(mysql, row.couponId, lettered, CHUNK)) {
    claims += page.length;
    const receipts = page.flatMap((claim) => [claim.userId, claim.claimNo, claim.claimedAt, claim.returnedAt ?? '']);
    await lease.run('load_receipts', [fence, keys.claimedUser], receipts);
    await lease.renew();
    loaded.latest = Math.max(loaded.latest, ...page.map((claim) => claim.returnedAt ?? claim.claimedAt));
  }
  // Numbers are handed out without gaps: a row is missing, and what the others are worth is for a person to say.
  if (claims + voids !== highest) {
    await leaveClosed(lease, row.couponId, `${claims} rows and ${voids} void numbers up to number ${highest}`, loaded);
    return;
  }
  if (remaining < 0) {
    await leaveClosed(lease, row.couponId, `${claims} claims of ${row.total}, ${withheld} more in doubt`, loaded);
    return;
  }
  const fields = Object.entries(await hashOf(lease, standing)).flat();
  await lease.run('load_finish', all, [row.couponId, claims, remaining, ...fields]);
  loaded.coupons++;
  loaded.claims += claims;
  loaded.withheld += withheld;
}

/** Its claims stay where they are: the definition says that they are to be looked for in MySQL. */
async function loadArchived(lease: Lease, standing: CouponStanding, loaded: Loaded): Promise<void> {
  const { couponId } = standing.row;
  const keys = couponKeys(lease.shard, couponId);
  const all = [fenceKey(lease.shard), keys.coupon, keys.stock, keys.claimedUser];
  await lease.run('load_archived', all, [couponId, ...Object.entries(await hashOf(lease, standing)).flat()]);
  loaded.coupons++;
}

/** The fields of the coupon's hash, as lua/include/coupon.lua reads them. */
async function hashOf(lease: Lease, standing: CouponStanding): Promise<Record<string, string | number>> {
  const { row, highest, returned, voids, withheld } = standing;
  const logged = await readStockLog(lease.context.mysql, row.couponId, { version: row.version });
  return {
    version: row.version,
    outcome: logged?.status === 'below_claimed' ? CODE.BELOW_CLAIMED : 0,
    paused: row.paused ? 1 : 0,
    opens_at: row.opensAt ?? '',
    closes_at: row.closesAt ?? '',
    ack: row.ack,
    total: row.total,
    highest,
    ceiling: row.ceiling,
    returnable: row.returnable ? 1 : 0,
    returned,
    returning: 0,
    voids,
    withheld,
  };
}

/** A coupon that cannot be right must not keep its shard closed: it alone answers `fenced`, and the log says why. */
async function leaveClosed(lease: Lease, couponId: string, why: string, loaded: Loaded): Promise<void> {
  const keys = couponKeys(lease.shard, couponId);
  const all = [fenceKey(lease.shard), keys.coupon, keys.stock, keys.claimedUser];
  await lease.run('load_closed', all, [couponId]);
  loaded.coupons++;
  lease.context.log.error({ couponId, shard: lease.shard }, `coupon stays closed: the ledger has ${why}`);
}
