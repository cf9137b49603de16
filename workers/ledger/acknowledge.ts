// Takes committed entries out of a shard's outbox (lua/acknowledge.lua), raises the ceilings in Redis and gives returned units
// back to stock there.
import { couponKeys, fenceKey, LEDGER_GROUP, outboxKey } from '../../coupons/keys.js';
import { CODE } from '../../lua/codes.js';
import type { Scripts } from '../../lua/scripts.js';
import { runScript } from '../../lua/scripts.js';
import type { Redis } from '../../platform/redis.js';

/** Coupons of one call, during which Redis serves nobody else: a ceiling takes it some 2.5 µs (Redis 7.0, two cores). */
const COUPONS_PER_CALL = 1_000;

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

/**
 * False when the shard is not in that state under that epoch any more: nothing was done, or only some coupons were told of their
 * progress. May be repeated after any error.
 */
export async function acknowledge(redis: Redis, scripts: Scripts, what: Acknowledgement): Promise<boolean> {
  const coupons = [...what.coupons];
  for (let first = 0; ; first += COUPONS_PER_CALL) {
    const some = new Map(coupons.slice(first, first + COUPONS_PER_CALL));
    const last = first + COUPONS_PER_CALL >= coupons.length;
    // The entries in the last call: as long as a ceiling is not told, an entry is left that has it told, whoever dies in between.
    const part = { ...what, ids: last ? what.ids : [], coupons: some };
    if (!(await acknowledgeAtOnce(redis, scripts, part))) return false;
    if (last) return true;
  }
}

async function acknowledgeAtOnce(redis: Redis, scripts: Scripts, what: Acknowledgement): Promise<boolean> {
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
