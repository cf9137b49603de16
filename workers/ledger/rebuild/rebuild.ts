// Makes a shard ready from what is known: the rows of MySQL and what the outbox still holds. The same procedure after a
// restart of Redis, after a loss, and at the very first start. Steps:
//
//   1. take the next epoch, by compare-and-set on the shard's row (lease.ts): from now on nobody else's writes are
//      accepted, in MySQL (the ledger checks the epoch) and in Redis (the fence does);
//   2. close the shard in Redis under that epoch and a token of our own;
//   3. write what the outbox holds to MySQL, and acknowledge it (gather.ts);
//   4. settle the change that each coupon may have pending, then load each coupon from MySQL (load.ts);
//   5. open the shard, if all counts agree.
//
// Every write checks the epoch again, and the token where it could be another rebuild's, so a rebuild that was overtaken,
// or that slept, stops by itself before it does harm.
import { fenceKey, LEDGER_GROUP, outboxKey } from '../../../coupons/keys.js';
import { drainOutbox } from './gather.js';
import type { RebuildContext } from './lease.js';
import { Lease } from './lease.js';
import { loadCoupons } from './load.js';

/**
 * Rebuilds one shard that was seen closed under `seenEpoch`, and returns the epoch under which it is open; undefined when
 * somebody else is at it, or has a newer epoch already. Throws
 * `RebuildOvertaken`, or whatever Redis or MySQL threw: the shard is then closed, and the caller tries again.
 */
export async function rebuildShard(
  context: RebuildContext,
  shard: number,
  seenEpoch: number,
): Promise<number | undefined> {
  const lease = await Lease.take(context, shard, seenEpoch);
  if (lease === undefined) return undefined;
  const startedAt = Date.now();
  await lease.run('rebuild_begin', [fenceKey(shard), outboxKey(shard)], [LEDGER_GROUP]);
  const rescued = await drainOutbox(lease);
  const loaded = await loadCoupons(lease);
  await lease.run('rebuild_open', [fenceKey(shard)], [loaded.coupons, loaded.latest]);
  await lease.open();
  const { epoch } = lease;
  context.log.info({ shard, epoch, rescued, ...loaded, ms: Date.now() - startedAt }, 'shard rebuilt and open');
  return epoch;
}
