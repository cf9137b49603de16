// Takes committed entries out of a shard's outbox (lua/acknowledge.lua), raises the ceilings in Redis and gives returned units
// back to stock there.
import { couponKeys, fenceKey, LEDGER_GROUP, outboxKey } from '../../coupons/keys.js';
import { CODE } from '../../lua/codes.js';
import type { Scripts } from '../../lua/scripts.js';
import { runScript } from '../../lua/scripts.js';
import type { Redis } from '../../platform/redis.js';

export interface Acknowledgement {
  readonly shard: number;
  readonly epoch: number;
  /** The state that the shard must be in. */
  readonly state: 'open' | 'rebuilding';
  /** Entries whose effect is committed in MySQL: these, and only these. */
  readonly ids: readonly string[];
  /** What changes in Redis with them. */
  readonly coupons: ReadonlyMap<string, CouponProgress>;
}

export interface CouponProgress {
  /** Highest claim number that MySQL allows by now; 0 leaves it as it is. */
  ceiling: number;
  /** Entries of committed returns, none of them among `ids`. */
  readonly returns: string[];
}

/** False when the shard is not in that state under that epoch any more: nothing was done. */
export async function acknowledge(redis: Redis, scripts: Scripts, what: Acknowledgement): Promise<boolean> {
  const keys = [...what.coupons.keys()].flatMap((couponId) => {
    const { coupon, stock } = couponKeys(what.shard, couponId);
    return [coupon, stock];
  });
  const progress = [...what.coupons.values()].flatMap(({ ceiling, returns }) => [ceiling, returns.length, ...returns]);
  const reply = await runScript(
    redis,
    scripts.acknowledge,
    [fenceKey(what.shard), outboxKey(what.shard), ...keys],
    [what.epoch, what.state, LEDGER_GROUP, what.ids.length, ...what.ids, ...progress],
  );
  return reply !== CODE.FENCED;
}
