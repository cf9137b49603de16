// Versioned changes of coupons: asked for in MySQL, applied in Redis, settled in MySQL, each exactly once and in order.
//
//   ask     one transaction, under a lock on the coupon's row: if the change before is not settled, that is finished first;
//           then the row gets version + 1 (a change of stock also gets a pending row in coupon_stock_log).
//   apply   lua/change.lua applies version n only on top of n − 1, and answers a repeat with the first outcome. More stock
//           is in MySQL before Redis hands it out; less stock is decided by Redis, which knows what is granted.
//   settle  the outcome goes to MySQL: from here, and from the outbox through the ledger, whoever is first.
//
// A crash after any step leaves a row whose applied_version is behind. Whoever comes next finishes it: the next change of
// the coupon, the ledger's outbox, a rebuild of the shard, or the job that looks for such rows.
import { setTimeout as sleep } from 'node:timers/promises';
import type { CouponRow } from './coupon-table.js';
import { readCoupon, readStockLog, settleVersion } from './coupon-table.js';
import { couponKeys, fenceKey, outboxKey } from './keys.js';
import { refuseOlderRow } from './mysql-age.js';
import type { ChangeOutcome } from './outbox.js';
import { outcomeOf } from './outbox.js';
import type { Shards } from './shards.js';
import { lockShards, readShard } from './shards.js';
import { CODE } from '../lua/codes.js';
import type { Scripts } from '../lua/scripts.js';
import { runScript } from '../lua/scripts.js';
import { StampedeError } from '../platform/errors.js';
import type { Connection, Pool } from '../platform/mysql.js';
import { inTransaction } from '../platform/mysql.js';
import type { Redis } from '../platform/redis.js';

/** How long one caller waits for its turn while others change the same coupon. */
const TURN_LIMIT_MS = 5_000;
/** Callers that wait for a turn look again after a random part of this. */
const TURN_PAUSE_MS_MAX = 50;

export interface ChangeContext {
  readonly redis: Redis;
  readonly mysql: Pool;
  readonly scripts: Scripts;
  readonly shards: Shards;
}

/**
 * Changes one coupon. `ask` runs under the lock, with the coupon settled; it writes the next version and returns true, or
 * returns false when there is nothing to change. Returns the outcome of the asked version, or undefined without one.
 * Throws `unknown_coupon`, `fenced`, `change_pending`, `mysql_older_than_redis`, what Redis throws while it is away (nothing is
 * asked for then), or what `ask` threw.
 */
export async function changeCoupon(
  context: ChangeContext,
  couponId: string,
  ask: (connection: Connection, row: CouponRow) => Promise<boolean>,
): Promise<ChangeOutcome | undefined> {
  const deadline = Date.now() + TURN_LIMIT_MS;
  for (;;) {
    const asked = await inTransaction(context.mysql, async (connection) => {
      const row = await readCoupon(connection, couponId, 'FOR UPDATE');
      if (row === undefined) throw new StampedeError('unknown_coupon');
      await refuseOlderRow(context.redis, row, () => Promise.resolve(row));
      if (row.appliedVersion < row.version) return 'unfinished';
      return (await ask(connection, row)) ? row.version + 1 : undefined;
    });
    if (asked === undefined) return undefined;
    if (asked !== 'unfinished') return await finishChange(context, couponId, asked);
    await finishChange(context, couponId);
    if (Date.now() > deadline) throw new StampedeError('change_pending');
    await sleep(Math.random() * TURN_PAUSE_MS_MAX);
  }
}

/**
 * Applies and settles the pending change of a coupon, or learns the outcome of `version` where somebody else has done it
 * meanwhile. Throws `fenced` or `change_pending`: the change stays asked for and will be finished by whoever comes next.
 */
export async function finishChange(
  context: ChangeContext,
  couponId: string,
  version?: number,
): Promise<ChangeOutcome | undefined> {
  const { mysql } = context;
  const row = await readCoupon(mysql, couponId);
  if (row === undefined) throw new StampedeError('unknown_coupon');
  if (row.appliedVersion < row.version && (version === undefined || row.version === version)) {
    // Read after the change was seen to be asked for: a rebuild that takes a newer epoch sees it, too.
    const epoch = (await readShard(mysql, row.shard)).epoch;
    const outcome = await applyVersion(context, row, epoch);
    if (outcome !== 'superseded') await settleUnder(context, row, epoch, outcome);
  }
  if (version === undefined) return undefined;
  // Settled here, by the ledger, by a rebuild or by another caller: what MySQL has is the outcome.
  const settled = await readCoupon(mysql, couponId);
  if (settled === undefined || settled.appliedVersion < version) throw new StampedeError('change_pending');
  return (await readStockLog(mysql, couponId, { version }))?.status === 'below_claimed' ? 'below_claimed' : 'applied';
}

/** A rebuild that has begun meanwhile decides the change itself, from what it finds. */
async function settleUnder(
  context: ChangeContext,
  row: CouponRow,
  epoch: number,
  outcome: ChangeOutcome,
): Promise<void> {
  await inTransaction(context.mysql, async (connection) => {
    const [shard] = await lockShards(connection, [row.shard]);
    if (shard?.epoch === epoch) await settleVersion(connection, { ...row, outcome });
  });
}

/** `superseded`: somebody else has applied and settled this version since the row was read, and a later one was made. */
async function applyVersion(
  context: ChangeContext,
  row: CouponRow,
  epoch: number,
): Promise<ChangeOutcome | 'superseded'> {
  const { mysql, redis, scripts } = context;
  const delta = (await readStockLog(mysql, row.couponId, { version: row.version }))?.delta ?? 0;
  const keys = couponKeys(row.shard, row.couponId);
  const reply = (await runScript(
    redis,
    scripts.change,
    [fenceKey(row.shard), outboxKey(row.shard), keys.coupon, keys.stock, keys.claimedUser],
    [
      epoch,
      row.couponId,
      row.version,
      delta,
      row.paused ? 1 : 0,
      row.opensAt ?? '',
      row.closesAt ?? '',
      row.ack,
      row.ceiling,
      row.returnable ? 1 : 0,
    ],
  )) as [code: number, ...rest: number[]];
  if (reply[0] === CODE.FENCED) throw new StampedeError('fenced');
  if (reply[0] === CODE.VERSION_GAP && Number(reply[1]) > row.version) return 'superseded';
  const outcome = outcomeOf(reply[0]);
  if (outcome === undefined)
    throw new StampedeError('change_pending', `Redis has version ${String(reply[1])} of this coupon.`);
  return outcome;
}
