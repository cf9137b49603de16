// The part of this process in the life of the shards' epochs: reads them from MySQL (the authority), registers before it
// serves a new one, and reports what its witness holds when one is over. Without a registration no claim is sent.
//
// Everything that a look finds to do is one transaction, under a lock on the rows of the shards: so a rebuild either sees the
// registration or has the newer epoch already, and either waits for the report or has marked it as missed. A report that
// comes late is taken in by the next rebuild, which the ledger begins when it sees it. Writes no other rows.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OwedReport, Witness } from './witness.js';
import type { MysqlAge } from '../../coupons/mysql-age.js';
import type { ShardRow } from '../../coupons/shards.js';
import { shardOf } from '../../coupons/keys.js';
import { lockShards, readShards } from '../../coupons/shards.js';
import { insertReport, insertWorker, registerEpochs, removeWorker } from '../../coupons/witnesses.js';
import type { Log } from '../../platform/log.js';
import type { Connection, Pool } from '../../platform/mysql.js';
import { inTransaction } from '../../platform/mysql.js';
import { thisProcess } from '../../platform/process-identity.js';

/** How often the epochs are read: while a shard is closed or a report is owed … */
const LOOK_CLOSED_MS = 100;
/** … and otherwise. A rebuild waits for the report of an idle process this long. */
const LOOK_OPEN_MS = 250;
/** Callers that ask again sooner than this after a look are answered from it. */
const LOOK_AGAIN_MS = 50;

/** How long to wait until shards are open. */
export interface OpenPatience {
  /** ms while none is. */
  readonly firstMs: number;
  /** ms for the others, once one is. */
  readonly restMs: number;
}

export interface EpochWatchOptions {
  readonly mysql: Pool;
  readonly shardCount: number;
  readonly witness: Witness;
  /** Nothing is registered, and so no claim is sent, where MySQL may be older than Redis. */
  readonly age: MysqlAge;
  /** Of the process, for operators. */
  readonly name: string;
  readonly log: Log;
}

export class EpochWatch {
  readonly #options: EpochWatchOptions;
  readonly #self = { worker: randomUUID(), process: thisProcess() };
  readonly #stopping = new AbortController();
  #rows: readonly ShardRow[] = [];
  #lookedAt = -Infinity;
  /** A registration was sent at least. */
  #registered = false;
  /** Epochs by shard that were sent for registration, with no answer so far: a rebuild may be waiting for their reports. */
  readonly #unanswered = new Map<number, number>();
  #looking: Promise<void> | undefined;
  #comparing: Promise<void> | undefined;
  #loop: Promise<void> | undefined;
  #hurry = new AbortController();

  constructor(options: EpochWatchOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#options.shardCount;
  }

  shardOf(couponId: string): number {
    return shardOf(couponId, this.count);
  }

  /** The epoch under which claims may be sent; undefined while the shard is closed, or nothing is known yet. */
  epochOf(shard: number): number | undefined {
    const { witness, age } = this.#options;
    return age.older ? undefined : witness.epochOf(shard);
  }

  known(): boolean {
    return this.#rows.length === this.count;
  }

  /** True when claims of one shard at least may be sent. */
  anyOpen(): boolean {
    return this.#rows.some(({ shard }) => this.epochOf(shard) !== undefined);
  }

  /** True when claims of every shard may be sent. */
  allOpen(): boolean {
    return (
      this.known() && this.#rows.every(({ shard, epoch, state }) => state === 'open' && this.epochOf(shard) === epoch)
    );
  }

  /** Resolves when claims of every shard may be sent, when patience is at its end, or when aborted. */
  async whenAllOpen({ firstMs, restMs }: OpenPatience, stopping?: AbortSignal): Promise<void> {
    let until = performance.now() + firstMs;
    let isFirst = true;
    while (!this.allOpen() && !stopping?.aborted && performance.now() < until) {
      if (isFirst && this.anyOpen()) {
        isFirst = false;
        until = Math.min(until, performance.now() + restMs);
      }
      await sleep(LOOK_AGAIN_MS, undefined, stopping && { signal: stopping }).catch(() => undefined);
    }
  }

  start(): void {
    this.#loop ??= this.#watch();
  }

  /** Takes the process out of the register: nothing it answered is unconfirmed, and it answers nothing more. */
  async leave(): Promise<void> {
    await this.stop();
    const { mysql } = this.#options;
    if (!this.#registered) return;
    await inTransaction(mysql, (connection) => removeWorker(connection, this.#self.worker));
  }

  /** Ends the watch and leaves the registration, so that whoever rebuilds knows that somebody is missing. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#hurry.abort();
    await this.#loop;
    await this.#comparing;
  }

  /** Makes the next look come now. */
  hurry(): void {
    this.#hurry.abort();
  }

  /** Looks now, or shares the look that is under way or has just been. Rejects when MySQL does not answer. */
  async refresh(): Promise<void> {
    if (this.#looking === undefined && performance.now() - this.#lookedAt < LOOK_AGAIN_MS) return;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    await this.#looking;
  }

  async #watch(): Promise<void> {
    const { log } = this.#options;
    while (!this.#stopping.signal.aborted) {
      await this.refresh().catch((error: unknown) => {
        this.#options.age.doubt();
        log.debug({ err: error }, 'epochs could not be read');
      });
      this.#hurry = new AbortController();
      const interval = this.allOpen() && this.#options.witness.owed.length === 0 ? LOOK_OPEN_MS : LOOK_CLOSED_MS;
      await sleep(interval, undefined, { signal: this.#hurry.signal }).catch(() => undefined);
    }
  }

  async #look(): Promise<void> {
    const { mysql, witness, log } = this.#options;
    this.#compare();
    const rows = await readShards(mysql);
    this.#rows = rows;
    this.#lookedAt = performance.now();
    for (const { shard, epoch } of rows) if ((witness.epochOf(shard) ?? epoch) < epoch) witness.promise(shard);
    for (const { shard, epoch } of rows) {
      const unanswered = this.#unanswered.get(shard);
      if (unanswered === undefined || unanswered >= epoch) continue;
      this.#unanswered.delete(shard);
      witness.owe(shard, unanswered);
    }
    const owed = witness.owed;
    const closed = rows.filter((row) => this.#mayRegister(row));
    if (owed.length === 0 && closed.length === 0) return;
    const concerned = new Set([...owed, ...closed].map(({ shard }) => shard));
    const registered = await inTransaction(mysql, (connection) => this.#settle(connection, [...concerned], owed));
    witness.delivered(owed);
    for (const { shard, epoch } of registered) {
      this.#unanswered.delete(shard);
      if (witness.epochOf(shard) === undefined) witness.serve(shard, epoch);
    }
    for (const { shard, epoch, claims } of owed) log.info({ shard, epoch, claims: claims.length }, 'epoch reported');
  }

  /** Beside the looks: what is owed must not wait for a Redis that does not answer. */
  #compare(): void {
    const { age } = this.#options;
    this.#comparing ??= age.compare().then((usable) => {
      this.#comparing = undefined;
      if (usable) this.hurry();
    });
  }

  #mayRegister({ shard, state }: ShardRow): boolean {
    const { witness, age } = this.#options;
    return state === 'open' && witness.epochOf(shard) === undefined && age.mayUse(shard);
  }

  /** Returns the shards that it has registered for. */
  async #settle(
    connection: Connection,
    concerned: readonly number[],
    owed: readonly OwedReport[],
  ): Promise<ShardRow[]> {
    const rows = await lockShards(connection, concerned);
    for (const report of owed) await insertReport(connection, { worker: this.#self.worker, ...report });
    const open = rows.filter((row) => this.#mayRegister(row));
    for (const { shard, epoch } of open) this.#unanswered.set(shard, epoch);
    this.#registered = true;
    await insertWorker(connection, this.#self, this.#options.name);
    await registerEpochs(connection, this.#self.worker, open);
    return open;
  }
}
