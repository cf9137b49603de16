// Step 3 of a rebuild: what the surviving outbox holds goes to MySQL.
import { outboxKey } from '../../../coupons/keys.js';
import type { RawEntry } from '../../../coupons/outbox.js';
import { parseEntry } from '../../../coupons/outbox.js';
import { acknowledge } from '../acknowledge.js';
import type { Lease } from './lease.js';
import { RebuildOvertaken } from './lease.js';

/** Entries of one step. */
const CHUNK = 1_000;

/** Returns how many entries were written. What does not fit is put aside as dead letters. */
export async function drainOutbox(lease: Lease): Promise<number> {
  const { shard, epoch } = lease;
  const { ledgerWindow, write, redis, scripts, log } = lease.context;
  let rescued = 0;
  for (let after = '-'; ;) {
    const page = (await redis.xrange(outboxKey(shard), after, '+', 'COUNT', CHUNK)) as RawEntry[];
    const last = page.at(-1);
    if (last === undefined) return rescued;
    after = `(${last[0]}`;
    const result = await write({ shard, epoch, entries: page.map(parseEntry), ledgerWindow });
    if (result.status === 'stale_epoch') throw new RebuildOvertaken(`shard ${shard} has a newer epoch in MySQL`);
    for (const { entry, reason } of result.refused) {
      log.error({ shard, entry, reason }, 'outbox entry put aside as a dead letter');
    }
    // The ceilings reach Redis with the coupons, which are loaded next.
    const acknowledged = {
      shard,
      epoch,
      state: 'rebuilding',
      ids: page.map(([id]) => id),
      ceilings: new Map(),
    } as const;
    if (!(await acknowledge(redis, scripts, acknowledged))) throw new RebuildOvertaken('the fence has moved');
    rescued += result.ids.length;
    await lease.renew();
  }
}
