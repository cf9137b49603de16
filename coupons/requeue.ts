// Puts entries into the outbox that MySQL should have and does not (lua/requeue.lua): dead letters that are tried again, and
// rows that are missing. The ledger takes them from there as any other.
import { fenceKey, outboxKey } from './keys.js';
import type { Shards } from './shards.js';
import { CODE } from '../lua/codes.js';
import type { Scripts } from '../lua/scripts.js';
import { runScript } from '../lua/scripts.js';
import { StampedeError } from '../platform/errors.js';
import type { Redis } from '../platform/redis.js';

/** `fields`: names and values in turn. Throws `fenced` when the shard is not open. */
export async function requeue(
  context: { redis: Redis; scripts: Scripts; shards: Shards },
  shard: number,
  fields: readonly string[],
): Promise<void> {
  const { redis, scripts, shards } = context;
  await shards.refresh();
  const keys = [fenceKey(shard), outboxKey(shard)];
  const reply = await runScript(redis, scripts.requeue, keys, [shards.epochOf(shard) ?? 0, ...fields]);
  if (reply === CODE.FENCED) throw new StampedeError('fenced');
}
