// The right to rebuild one shard: an epoch and a token, taken under a lock on the shard's row. Every write of a
// rebuild goes through here or checks the same two, so a rebuild that was overtaken, or that slept, stops by itself.
import { randomUUID } from 'node:crypto';
import { CODE } from '../../../lua/codes.js';
import type { ScriptName, Scripts } from '../../../lua/scripts.js';
import { runScript } from '../../../lua/scripts.js';
import type { Log } from '../../../platform/log.js';
import type { Connection, Pool, Queryable, ResultSetHeader, RowDataPacket } from '../../../platform/mysql.js';
import { inTransaction } from '../../../platform/mysql.js';
import type { Redis } from '../../../platform/redis.js';
import type { WriteEntries } from '../writer-pool.js';

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

export class Lease {
  readonly shard: number;
  readonly epoch: number;
  readonly token: string;
  /** The epoch under which the shard was last open: whoever has been answered since was answered under this one. */
  readonly openedEpoch: number;
  /** Undefined once an earlier attempt of this rebuild has settled who holds what of that epoch. */
  readonly ungatheredEpoch: number | undefined;
  readonly context: RebuildContext;

  private constructor(context: RebuildContext, shard: number, seen: RowDataPacket) {
    this.context = context;
    this.shard = shard;
    this.epoch = Number(seen['epoch']) + 1;
    this.openedEpoch = Number(seen['opened_epoch']);
    this.ungatheredEpoch = Number(seen['gathered_epoch']) < this.openedEpoch ? this.openedEpoch : undefined;
    this.token = randomUUID();
  }

  /** Undefined when somebody else is at it, or has a newer epoch than `seenEpoch` already. */
  static async take(context: RebuildContext, shard: number, seenEpoch: number): Promise<Lease | undefined> {
    return await inTransaction(context.mysql, async (connection) => {
      const [rows] = await connection.query<RowDataPacket[]>(
        `SELECT epoch, opened_epoch, gathered_epoch, state, owner,
                updated_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND AS abandoned
           FROM shard WHERE shard = ? FOR UPDATE`,
        [LEASE_MS * 1_000, shard],
      );
      const row = rows[0];
      if (row === undefined) throw new Error(`MySQL has no row for shard ${shard}`);
      const othersRebuild = row['state'] === 'rebuilding' && String(row['owner']) !== context.owner;
      if (othersRebuild && row['abandoned'] !== 1) return undefined;
      if (Number(row['epoch']) !== seenEpoch) return undefined;
      const lease = new Lease(context, shard, row);
      await connection.query<ResultSetHeader>(
        `UPDATE shard SET epoch = ?, token = ?, owner = ?, state = 'rebuilding', updated_at = UTC_TIMESTAMP(3)
          WHERE shard = ?`,
        [lease.epoch, lease.token, context.owner, shard],
      );
      return lease;
    });
  }

  /** Shows others that this rebuild moves. */
  async renew(): Promise<void> {
    const [renewed] = await this.context.mysql.query<ResultSetHeader>(
      'UPDATE shard SET updated_at = UTC_TIMESTAMP(3) WHERE shard = ? AND token = ?',
      [this.shard, this.token],
    );
    if (renewed.affectedRows === 0) throw this.#overtakenInMysql();
  }

  /** `work` in one transaction of MySQL, during which nobody takes a newer epoch, and nobody reports. */
  async transaction<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return await inTransaction(this.context.mysql, async (connection) => {
      await this.#hold(connection);
      return await work(connection);
    });
  }

  /** Who holds what of the last open epoch is settled: what an outbox gives of it from now on was told to nobody. */
  async markGathered(): Promise<void> {
    await this.transaction(async (connection) => {
      await connection.query<ResultSetHeader>('UPDATE shard SET gathered_epoch = opened_epoch WHERE shard = ?', [
        this.shard,
      ]);
    });
  }

  /** Throws `RebuildOvertaken` also when somebody has reported since the reports were read: the rebuild begins again. */
  async open(): Promise<void> {
    const [opened] = await this.context.mysql.query<ResultSetHeader>(
      `UPDATE shard SET state = 'open', opened_epoch = ?, updated_at = UTC_TIMESTAMP(3)
        WHERE shard = ? AND token = ? AND NOT EXISTS (SELECT 1 FROM claim_report WHERE claim_report.shard = ?)`,
      [this.epoch, this.shard, this.token, this.shard],
    );
    if (opened.affectedRows === 1) return;
    await this.renew();
    throw new RebuildOvertaken(`a report for shard ${this.shard} came late`);
  }

  /** Runs one of the scripts that take epoch and token as their first arguments. */
  async run(name: ScriptName, keys: readonly string[], args: readonly (string | number)[] = []): Promise<void> {
    const { redis, scripts } = this.context;
    const code = await runScript(redis, scripts[name], keys, [this.epoch, this.token, ...args]);
    if (code === CODE.STALE)
      throw new RebuildOvertaken(`${name}: shard ${this.shard} has another epoch, token or Redis`);
    if (code !== 0) throw new Error(`${name} answered ${String(code)}`);
  }

  async #hold(connection: Queryable): Promise<void> {
    const [rows] = await connection.query<RowDataPacket[]>(
      'SELECT epoch, token FROM shard WHERE shard = ? FOR UPDATE',
      [this.shard],
    );
    if (Number(rows[0]?.['epoch']) === this.epoch && String(rows[0]?.['token']) === this.token) return;
    throw this.#overtakenInMysql();
  }

  #overtakenInMysql(): RebuildOvertaken {
    return new RebuildOvertaken(`shard ${this.shard} has another token in MySQL`);
  }
}
