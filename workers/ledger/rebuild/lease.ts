// The right to rebuild one shard: an epoch and a token, taken by compare-and-set on the shard's row. Every write of a
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
  readonly context: RebuildContext;

  private constructor(context: RebuildContext, shard: number, epoch: number, token: string) {
    this.context = context;
    this.shard = shard;
    this.epoch = epoch;
    this.token = token;
  }

  /** Undefined when somebody else is at it, or has a newer epoch than `seenEpoch` already. */
  static async take(context: RebuildContext, shard: number, seenEpoch: number): Promise<Lease | undefined> {
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
    const lease = new Lease(context, shard, seenEpoch + 1, randomUUID());
    const [taken] = await context.mysql.query<ResultSetHeader>(
      `UPDATE shard SET epoch = ?, token = ?, owner = ?, state = 'rebuilding', updated_at = UTC_TIMESTAMP(3)
        WHERE shard = ? AND epoch = ?`,
      [lease.epoch, lease.token, context.owner, shard, seenEpoch],
    );
    return taken.affectedRows === 1 ? lease : undefined;
  }

  /** Shows others that this rebuild moves. */
  async renew(): Promise<void> {
    const [renewed] = await this.context.mysql.query<ResultSetHeader>(
      'UPDATE shard SET updated_at = UTC_TIMESTAMP(3) WHERE shard = ? AND token = ?',
      [this.shard, this.token],
    );
    if (renewed.affectedRows === 0) throw this.#overtakenInMysql();
  }

  /** `work` in one transaction of MySQL, during which nobody takes a newer epoch. */
  async transaction<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return await inTransaction(this.context.mysql, async (connection) => {
      await this.#hold(connection);
      return await work(connection);
    });
  }

  async open(): Promise<void> {
    const [opened] = await this.context.mysql.query<ResultSetHeader>(
      "UPDATE shard SET state = 'open', updated_at = UTC_TIMESTAMP(3) WHERE shard = ? AND token = ?",
      [this.shard, this.token],
    );
    if (opened.affectedRows === 0) throw this.#overtakenInMysql();
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
      'SELECT epoch, token FROM shard WHERE shard = ? LOCK IN SHARE MODE',
      [this.shard],
    );
    if (Number(rows[0]?.['epoch']) === this.epoch && String(rows[0]?.['token']) === this.token) return;
    throw this.#overtakenInMysql();
  }

  #overtakenInMysql(): RebuildOvertaken {
    return new RebuildOvertaken(`shard ${this.shard} has another token in MySQL`);
  }
}
