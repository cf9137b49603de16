// Makes a shard ready from what is known: the rows of MySQL and what the outbox still holds. The same procedure after a
// restart of Redis, after a loss, and at the very first start. Steps:
//
//   1. take the next epoch, by compare-and-set on the shard's row: from now on nobody else's writes are accepted, in
//      MySQL (the ledger checks the epoch) and in Redis (the fence does);
//   2. close the shard in Redis under that epoch and a token of our own;
//   3. write what the outbox holds to MySQL, and acknowledge it;
//   4. settle the change that each coupon may have pending, then load each coupon from MySQL, beginning with empty keys;
//   5. open the shard, if all counts agree.
//
// Every write checks the epoch again, and the token where it could be another rebuild's, so a rebuild that was overtaken,
// or that slept, stops by itself before it does harm.
// Nothing here invents stock: what remains is the total less the rows.
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { readClaims } from '../../coupons/claim-log.js';
import type { CouponRow } from '../../coupons/coupon-table.js';
import { readCoupon, readCoupons, readStockLog, settleVersion } from '../../coupons/coupon-table.js';
import { couponKeys, fenceKey, LEDGER_GROUP, outboxKey } from '../../coupons/keys.js';
import type { RawEntry } from '../../coupons/outbox.js';
import { CODE } from '../../lua/codes.js';
import type { ScriptName, Scripts } from '../../lua/scripts.js';
import { runScript } from '../../lua/scripts.js';
import type { Log } from '../../platform/log.js';
import type { Pool, Queryable, ResultSetHeader, RowDataPacket } from '../../platform/mysql.js';
import { inTransaction } from '../../platform/mysql.js';
import { acknowledge } from './acknowledge.js';
import { parseEntry } from '../../coupons/outbox.js';
import type { OutboxEntry } from '../../coupons/outbox.js';
import type { WriteEntries } from './writer-pool.js';

/** Rows, entries or coupons of one step. A load script with 1,000 pairs stays far below Lua's limit on arguments. */
const CHUNK = 1_000;
/** A rebuild by somebody else that has not moved for this long is taken over. Each chunk moves it. */
const LEASE_MS = 10_000;

export interface RebuildContext {
  readonly redis: Redis;
  readonly mysql: Pool;
  readonly scripts: Scripts;
  readonly write: WriteEntries;
  readonly ledgerWindow: number;
  /** Who rebuilds. The same owner may take over from itself at once: its former process is dead, or will be overtaken. */
  readonly owner: string;
  readonly log: Log;
}

/** Somebody else has taken the shard meanwhile. */
export class RebuildOvertaken extends Error {
  override readonly name = 'RebuildOvertaken';
}

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
  const lease = await takeEpoch(context, shard, seenEpoch);
  if (lease === undefined) return undefined;
  const rebuild = new Rebuild(context, shard, lease);
  const startedAt = Date.now();
  await rebuild.begin();
  const rescued = await rebuild.drainOutbox();
  const loaded = await rebuild.loadCoupons();
  await rebuild.open(loaded);
  context.log.info(
    { shard, epoch: lease.epoch, rescued, ...loaded, ms: Date.now() - startedAt },
    'shard rebuilt and open',
  );
  return lease.epoch;
}

interface Lease {
  readonly epoch: number;
  readonly token: string;
}

interface Loaded {
  coupons: number;
  claims: number;
  /** Epoch milliseconds of the latest claim. */
  latest: number;
}

async function takeEpoch(context: RebuildContext, shard: number, seenEpoch: number): Promise<Lease | undefined> {
  const [rows] = await context.mysql.query<RowDataPacket[]>(
    `SELECT epoch, state, owner, updated_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND AS abandoned
       FROM shard WHERE shard = ?`,
    [LEASE_MS * 1_000, shard],
  );
  const row = rows[0];
  if (row === undefined) throw new Error(`MySQL has no row for shard ${shard}`);
  const othersRebuild = row['state'] === 'rebuilding' && String(row['owner']) !== context.owner;
  if (othersRebuild && row['abandoned'] !== 1) return undefined;
  if (Number(row['epoch']) !== seenEpoch) return undefined;
  const lease = { epoch: seenEpoch + 1, token: randomUUID() };
  const [taken] = await context.mysql.query<ResultSetHeader>(
    `UPDATE shard SET epoch = ?, token = ?, owner = ?, state = 'rebuilding', updated_at = UTC_TIMESTAMP(3)
      WHERE shard = ? AND epoch = ?`,
    [lease.epoch, lease.token, context.owner, shard, seenEpoch],
  );
  return taken.affectedRows === 1 ? lease : undefined;
}

class Rebuild {
  readonly #context: RebuildContext;
  readonly #shard: number;
  readonly #lease: Lease;

  constructor(context: RebuildContext, shard: number, lease: Lease) {
    this.#context = context;
    this.#shard = shard;
    this.#lease = lease;
  }

  async begin(): Promise<void> {
    const { epoch, token } = this.#lease;
    const keys = [fenceKey(this.#shard), outboxKey(this.#shard)];
    await this.#run('rebuild_begin', keys, [epoch, token, LEDGER_GROUP]);
  }

  /** Returns how many entries were written. What does not fit stays in the outbox, for a person to look at. */
  async drainOutbox(): Promise<number> {
    let rescued = 0;
    for (let after = '-'; ;) {
      const page = (await this.#context.redis.xrange(outboxKey(this.#shard), after, '+', 'COUNT', CHUNK)) as RawEntry[];
      const last = page.at(-1);
      if (last === undefined) return rescued;
      after = `(${last[0]}`;
      const entries = page.map(parseEntry).filter((entry): entry is OutboxEntry => entry.kind !== 'poison');
      const { epoch } = this.#lease;
      const { ledgerWindow, write, redis, scripts, log } = this.#context;
      const result = await write({ shard: this.#shard, epoch, entries, ledgerWindow });
      if (result.status === 'stale_epoch')
        throw new RebuildOvertaken(`shard ${this.#shard} has a newer epoch in MySQL`);
      const stuck = page.length - result.ids.length;
      if (stuck > 0) log.error({ shard: this.#shard, stuck }, 'outbox entries do not fit the ledger and stay');
      // The ceilings reach Redis with the coupons, which are loaded next.
      const acknowledged = {
        shard: this.#shard,
        epoch,
        state: 'rebuilding' as const,
        ids: result.ids,
        ceilings: new Map(),
      };
      if (!(await acknowledge(redis, scripts, acknowledged))) throw new RebuildOvertaken('the fence has moved');
      rescued += result.ids.length;
      await this.#renewLease();
    }
  }

  async loadCoupons(): Promise<Loaded> {
    const loaded = { coupons: 0, claims: 0, latest: 0 };
    for (let after = ''; ;) {
      const page = await readCoupons(this.#context.mysql, { shard: this.#shard, after, limit: CHUNK });
      for (const { couponId } of page) {
        await this.#loadCoupon(await this.#settlePending(couponId), loaded);
        await this.#renewLease();
      }
      const last = page.at(-1);
      if (last === undefined) return loaded;
      after = last.couponId;
    }
  }

  async open(loaded: Loaded): Promise<void> {
    const { epoch, token } = this.#lease;
    await this.#run('rebuild_open', [fenceKey(this.#shard)], [epoch, token, loaded.coupons, loaded.latest]);
    const [opened] = await this.#context.mysql.query<ResultSetHeader>(
      "UPDATE shard SET state = 'open', updated_at = UTC_TIMESTAMP(3) WHERE shard = ? AND token = ?",
      [this.#shard, token],
    );
    if (opened.affectedRows === 0) throw new RebuildOvertaken(`shard ${this.#shard} has another token in MySQL`);
  }

  /**
   * A change that was asked for and whose outcome nobody knows: the outbox is empty by now, so Redis either never saw it
   * or has forgotten it. Decided here and now, on the same grounds as in lua/change.lua.
   */
  async #settlePending(couponId: string): Promise<CouponRow> {
    return await inTransaction(this.#context.mysql, async (connection) => {
      await this.#holdLease(connection);
      const row = await readCoupon(connection, couponId, 'FOR UPDATE');
      if (row === undefined) throw new Error(`coupon ${couponId} vanished from MySQL`);
      if (row.appliedVersion === row.version) return row;
      const change = await readStockLog(connection, couponId, { version: row.version });
      const remaining = row.total - (await highestClaim(connection, couponId));
      const outcome = remaining + (change?.delta ?? 0) < 0 ? 'below_claimed' : 'applied';
      await settleVersion(connection, { couponId, version: row.version, outcome });
      return (await readCoupon(connection, couponId)) ?? row;
    });
  }

  async #loadCoupon(row: CouponRow, loaded: Loaded): Promise<void> {
    const { epoch, token } = this.#lease;
    const { mysql } = this.#context;
    const fence = fenceKey(this.#shard);
    const keys = couponKeys(this.#shard, row.couponId);
    const all = [fence, keys.coupon, keys.stock, keys.claimedUser];
    await this.#run('load_begin', all, [epoch, token]);
    let claims = 0;
    for (;;) {
      const page = await readClaims(mysql, row.couponId, { after: claims, limit: CHUNK });
      const last = page.at(-1);
      if (last === undefined) break;
      claims += page.length;
      // Numbers are handed out without gaps: a row is missing, and what the others are worth is for a person to say.
      if (last.claimNo !== claims) {
        await this.#leaveClosed(row.couponId, `${claims} rows up to number ${last.claimNo}`, loaded);
        return;
      }
      const pairs = page.flatMap((claim) => [claim.userId, `${claim.claimNo}:${claim.claimedAt}`]);
      await this.#run('load_receipts', [fence, keys.claimedUser], [epoch, token, ...pairs]);
      await this.#renewLease();
      loaded.latest = Math.max(loaded.latest, ...page.map((claim) => claim.claimedAt));
    }
    if (row.total < claims) {
      await this.#leaveClosed(row.couponId, `${claims} claims of ${row.total}`, loaded);
      return;
    }
    const outcome = (await readStockLog(mysql, row.couponId, { version: row.version }))?.status ?? 'applied';
    await this.#run('load_finish', all, [
      epoch,
      token,
      row.couponId,
      claims,
      row.total - claims,
      row.version,
      outcome === 'below_claimed' ? CODE.BELOW_CLAIMED : 0,
      row.paused ? 1 : 0,
      row.opensAt ?? '',
      row.closesAt ?? '',
      row.ack,
      row.total,
      row.ceiling,
    ]);
    loaded.coupons++;
    loaded.claims += claims;
  }

  /** A coupon that cannot be right must not keep its shard closed: it alone answers `fenced`, and the log says why. */
  async #leaveClosed(couponId: string, why: string, loaded: Loaded): Promise<void> {
    const { epoch, token } = this.#lease;
    const keys = couponKeys(this.#shard, couponId);
    const all = [fenceKey(this.#shard), keys.coupon, keys.stock, keys.claimedUser];
    await this.#run('load_closed', all, [epoch, token, couponId]);
    loaded.coupons++;
    this.#context.log.error({ couponId, shard: this.#shard }, `coupon stays closed: the ledger has ${why}`);
  }

  /** Until the transaction ends, nobody takes a newer epoch; throws when somebody has. */
  async #holdLease(connection: Queryable): Promise<void> {
    const [rows] = await connection.query<RowDataPacket[]>(
      'SELECT epoch, token FROM shard WHERE shard = ? LOCK IN SHARE MODE',
      [this.#shard],
    );
    const { epoch, token } = this.#lease;
    if (Number(rows[0]?.['epoch']) === epoch && String(rows[0]?.['token']) === token) return;
    throw new RebuildOvertaken(`shard ${this.#shard} has another token in MySQL`);
  }

  async #renewLease(): Promise<void> {
    const [renewed] = await this.#context.mysql.query<ResultSetHeader>(
      'UPDATE shard SET updated_at = UTC_TIMESTAMP(3) WHERE shard = ? AND token = ?',
      [this.#shard, this.#lease.token],
    );
    if (renewed.affectedRows === 0) throw new RebuildOvertaken(`shard ${this.#shard} has another token in MySQL`);
  }

  async #run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<void> {
    const code = await runScript(this.#context.redis, this.#context.scripts[name], keys, args);
    if (code === CODE.STALE)
      throw new RebuildOvertaken(`${name}: shard ${this.#shard} has another epoch, token or Redis`);
    if (code !== 0) throw new Error(`${name} answered ${String(code)}`);
  }
}

/** The number of claims, as long as no row is missing. */
async function highestClaim(mysql: Queryable, couponId: string): Promise<number> {
  const [rows] = await mysql.query<RowDataPacket[]>(
    'SELECT COALESCE(MAX(claim_no), 0) AS highest FROM coupon_claim_log WHERE coupon_id = ?',
    [couponId],
  );
  return Number(rows[0]?.['highest']);
}
