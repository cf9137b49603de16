// What stands in outbox streams: each claim, return and change by itself, however many of them an entry holds.
import type { OutboxEntry, PoisonEntry, RawEntry } from '../../coupons/outbox.js';
import { parseEntry } from '../../coupons/outbox.js';
import type { Redis } from '../../platform/redis.js';

export async function readOutboxes(redis: Redis, keys: readonly string[]): Promise<(OutboxEntry | PoisonEntry)[]> {
  const streams = await Promise.all(keys.map((key) => redis.xrange(key, '-', '+')));
  return streams.flatMap((raw) => (raw as RawEntry[]).flatMap(parseEntry));
}
