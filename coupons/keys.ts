// Names of everything in Redis. All keys of a coupon carry the hash tag of its shard, so that a shard lives in one slot.

/** The consumer group that takes outbox entries to MySQL. */
export const LEDGER_GROUP = 'ledger';

export interface CouponKeys {
  readonly coupon: string;
  readonly stock: string;
  readonly claimedUser: string;
}

export function fenceKey(shard: number): string {
  return `${tag(shard)}:fence`;
}

export function outboxKey(shard: number): string {
  return `${tag(shard)}:outbox`;
}

export function couponKeys(shard: number, couponId: string): CouponKeys {
  return {
    coupon: `${tag(shard)}:coupon:${couponId}`,
    stock: `${tag(shard)}:coupon_stock:${couponId}`,
    claimedUser: `${tag(shard)}:claimed_user:${couponId}`,
  };
}

function tag(shard: number): string {
  return `{s${shard.toString().padStart(2, '0')}}`;
}

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** The shard of a coupon: FNV-1a over the id (ASCII by its rules), modulo the fixed number of shards. */
export function shardOf(couponId: string, shardCount: number): number {
  let hash = FNV_OFFSET;
  for (let i = 0; i < couponId.length; i++) hash = Math.imul(hash ^ couponId.charCodeAt(i), FNV_PRIME);
  return (hash >>> 0) % shardCount;
}
