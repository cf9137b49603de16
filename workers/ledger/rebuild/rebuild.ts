// Makes a shard ready from what is known: the rows of MySQL, what the outbox still holds, and what the witnesses report. The
// same procedure after a restart of Redis, after a loss, and at the very first start. Steps:
//
//   0. refuse when MySQL is older than Redis (coupons/mysql-age.ts);
//   1. take the next epoch, under a lock on the shard's row (lease.ts): from now on nobody else's writes are
//      accepted, in MySQL (the ledger checks the epoch) and in Redis (the fence does);
//   2. close the shard in Redis under that epoch and a token of our own;
//   3. wait until everybody who may have answered under the last open epoch has reported, or is known to be missing;
//   4. write what the outbox and the reports hold to MySQL, and acknowledge it (gather.ts); when somebody is missing, withhold
//      the numbers in doubt (withhold.ts); then mark that epoch as settled;
//   5. give back what was withheld for epochs of which everybody has reported by now, settle the change that each coupon may
//      have pending, and load each coupon from MySQL (load.ts);
//   6. open the shard, if all counts agree and nobody has reported since.
//
// Every write checks the epoch again, and the token where it could be another rebuild's, so a rebuild that was overtaken,
// or that slept, stops by itself before it does harm. docs/protocol.md says why it is done in this order.
import { fenceKey, LEDGER_GROUP, outboxKey } from '../../../coupons/keys.js';
import { refuseOlderMysql } from '../../../coupons/mysql-age.js';
import { releaseSettled } from '../../../coupons/withheld.js';
import { forgetEpochs } from '../../../coupons/witnesses.js';
import { gather, hearWitnesses } from './gather.js';
import type { RebuildContext } from './lease.js';
import { Lease } from './lease.js';
import { loadCoupons } from './load.js';
import { withholdInDoubt } from './withhold.js';

/**
 * Rebuilds one shard that was seen closed under `seenEpoch`, and returns the epoch under which it is open; undefined when
 * somebody else is at it, or has a newer epoch already. Throws `RebuildOvertaken`, or whatever Redis or MySQL threw: the
 * shard is then closed, and the caller tries again. `signal` ends the waiting, not the rebuild.
 */
export async function rebuildShard(
  context: RebuildContext,
  shard: number,
  seenEpoch: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  await refuseOlderMysql(context, shard);
  const lease = await Lease.take(context, shard, seenEpoch);
  if (lease === undefined) return undefined;
  const startedAt = Date.now();
  await lease.run('rebuild_begin', [fenceKey(shard), outboxKey(shard)], [LEDGER_GROUP]);
  const missing = await hearWitnesses(lease, signal);
  const gathered = await gather(lease);
  if (lease.ungatheredEpoch !== undefined) await withholdInDoubt(lease, missing);
  await lease.markGathered();
  await lease.transaction((connection) => releaseSettled(connection, shard));
  const loaded = await loadCoupons(lease);
  await lease.run('rebuild_open', [fenceKey(shard), outboxKey(shard)], [loaded.coupons, loaded.latest]);
  await lease.open();
  await lease.transaction((connection) => forgetEpochs(connection, shard, lease.epoch));
  const { epoch } = lease;
  const ms = Date.now() - startedAt;
  context.log.info({ shard, epoch, missing, ...gathered, ...loaded, ms }, 'shard rebuilt and open');
  return epoch;
}
