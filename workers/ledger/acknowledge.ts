// Takes committed entries out of a shard's outbox (lua/acknowledge.lua) and raises the ceilings in Redis.
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
  /** Only entries whose effect is committed in MySQL. */
  readonly ids: readonly string[];
  /** Only ceilings that are committed in MySQL. */
  readonly ceilings: ReadonlyMap<string, number>;
}

/** False when the shard is not in that state under that epoch any more: nothing was done. */
export async function acknowledge(redis: Redis, scripts: Scripts, what: Acknowledgement): Promise<boolean> {
  const coupons = [...what.ceilings.keys()].map((couponId) => couponKeys(what.shard, couponId).coupon);
  const reply = await runScript(
    redis,
    scripts.acknowledge,
    [fenceKey(what.shard), outboxKey(what.shard), ...coupons],
    [what.epoch, what.state, LEDGER_GROUP, what.ids.length, ...what.ids, ...what.ceilings.values()],
  );
  return reply !== CODE.FENCED;
}
