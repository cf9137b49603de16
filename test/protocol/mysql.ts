// The model's MySQL: durable, and every method one transaction. Its locks are implied: a transaction is one atomic step.
// What ledgers and workers write; the transactions of a rebuild are in rebuild-tables.ts.
import type { Entry, Outcome } from './redis.js';
import type { Rules } from './rules.js';
import type { Server } from './world.js';
import { Violation } from './world.js';

export interface Shard {
  epoch: number;
  /** The last epoch under which workers could claim. */
  openedEpoch: number;
  /** Up to this epoch rebuilds have decided what is withheld: what turns up later fills ranges only. */
  gatheredEpoch: number;
  token: string;
  state: 'fenced' | 'rebuilding' | 'open';
}

export interface Row {
  user: string;
  returned: boolean;
}

export interface WorkerEpoch {
  readonly worker: string;
  readonly epoch: number;
  state: 'registered' | 'reported';
}

/** A told answer that a worker cannot prove to be committed. */
export interface Told {
  readonly no: number;
  readonly user: string;
  readonly returned: boolean;
}

export interface Report extends Told {
  readonly epoch: number;
}

/** Numbers after `base` up to `last` of which a missing worker may have told some. */
export interface Range {
  readonly epoch: number;
  readonly base: number;
  readonly last: number;
  released: boolean;
  byHand: boolean;
}

export class MySql implements Server {
  readonly name = 'mysql';
  readonly up = true;
  readonly paused = false;
  readonly incarnation = 1;
  /** Counts transactions that changed something others wait for. */
  changes = 0;
  readonly shard: Shard = { epoch: 1, openedEpoch: 1, gatheredEpoch: 0, token: 'first', state: 'open' };
  readonly coupon;
  readonly rows = new Map<number, Row>();
  readonly numberOf = new Map<string, number>();
  readonly outcomes = new Map<number, Outcome>();
  readonly ranges = new Map<number, Range>();
  reports: Report[] = [];
  workerEpochs: WorkerEpoch[] = [];
  readonly #rules: Rules;

  constructor(rules: Rules, total: number, window: number) {
    this.#rules = rules;
    this.coupon = { total, ceiling: window, version: 1, appliedVersion: 1, delta: 0, base: 0 };
  }

  get isOpen(): boolean {
    return this.shard.state === 'open';
  }

  /** Units that an asked and unsettled increase may already have added in Redis. */
  get pendingIncrease(): number {
    const { version, appliedVersion, delta } = this.coupon;
    return version > appliedVersion ? Math.max(0, delta) : 0;
  }

  rowOf(worker: string, epoch: number): WorkerEpoch | undefined {
    return this.workerEpochs.find((row) => row.worker === worker && row.epoch === epoch);
  }

  // Workers

  register(worker: string, epoch: number): boolean {
    const { shard } = this;
    if (shard.epoch !== epoch || shard.state !== 'open') return false;
    if (this.rowOf(worker, epoch) === undefined) this.workerEpochs.push({ worker, epoch, state: 'registered' });
    return true;
  }

  /** Repeating it changes nothing. */
  report(worker: string, epoch: number, told: readonly Told[]): void {
    const row = this.rowOf(worker, epoch);
    if (row === undefined || row.state === 'reported') return;
    for (const one of told) this.reports.push({ ...one, epoch });
    row.state = 'reported';
    this.changes++;
  }

  /** Grants that a ledger has read and could not write. Nobody waits for them: they are taken where they can still matter. */
  leaveOver(epoch: number, entries: readonly Entry[]): void {
    const range = this.ranges.get(epoch);
    if (epoch <= this.shard.gatheredEpoch && (range === undefined || range.released)) return;
    for (const entry of entries) {
      if (entry.kind === 'grant') this.reports.push({ no: entry.no, user: entry.user, returned: false, epoch });
    }
    this.changes++;
  }

  /** What somebody came to say after its epoch was settled waits to be read, or is the last that a range waited for. */
  get hasLateReport(): boolean {
    const settled = [...this.ranges.values()].some(
      ({ epoch, released }) => !released && this.silent(epoch).length === 0,
    );
    return this.reports.length > 0 || settled;
  }

  /** Workers that have not reported this epoch. */
  silent(epoch: number): string[] {
    const rows = this.workerEpochs.filter((row) => row.epoch === epoch && row.state !== 'reported');
    return rows.map((row) => row.worker);
  }

  /** The shard is to be rebuilt, by an operator's hand or for a late report. */
  fence(): void {
    if (!this.isOpen) return;
    this.shard.state = 'fenced';
    this.changes++;
  }

  /** A worker that has nothing unconfirmed leaves, or is known to be dead with nothing unconfirmed. */
  forgetWorker(worker: string, epoch?: number): void {
    this.workerEpochs = this.workerEpochs.filter(
      (row) => row.worker !== worker || (epoch !== undefined && row.epoch !== epoch),
    );
    this.changes++;
  }

  hasRow(told: Told): boolean {
    return this.rows.get(told.no)?.user === told.user;
  }

  // The ledger

  /** Undefined when the epoch is another one. Returns the ceiling that the committed numbers allow. */
  write(epoch: number, entries: readonly Entry[], window: number): { ceiling: number } | undefined {
    if (this.shard.epoch !== epoch && this.#rules.keeps("ledger's epoch")) return undefined;
    for (const entry of entries) this.writeEntry(entry);
    const highest = Math.max(0, ...entries.map((entry) => (entry.kind === 'grant' ? entry.no : 0)));
    this.coupon.ceiling = Math.max(this.coupon.ceiling, highest + window);
    this.changes++;
    return { ceiling: this.coupon.ceiling };
  }

  writeEntry(entry: Entry): void {
    if (entry.kind === 'change') this.applySettlement(entry.version, entry.outcome);
    else if (!this.insert({ ...entry, returned: entry.kind === 'return' })) {
      const row = JSON.stringify(this.rows.get(entry.no));
      throw new Violation(`I2: the entry ${entry.no} of ${entry.user} does not fit the ledger (${row})`);
    }
  }

  /** False when the number or the user is taken: the unique keys. */
  insert(told: Told): boolean {
    const row = this.rows.get(told.no);
    if (row === undefined) {
      if (this.numberOf.has(told.user)) return false;
      this.rows.set(told.no, { user: told.user, returned: told.returned });
      this.numberOf.set(told.user, told.no);
      return true;
    }
    if (row.user !== told.user) return false;
    row.returned ||= told.returned;
    return true;
  }

  // Changes of stock

  /** Undefined while another change is pending. */
  ask(delta: number): { version: number } | undefined {
    const { coupon } = this;
    if (coupon.version > coupon.appliedVersion) return undefined;
    if (coupon.total + delta < 0) return undefined;
    coupon.version++;
    coupon.delta = delta;
    this.changes++;
    return { version: coupon.version };
  }

  pending(): { version: number; delta: number; epoch: number } | undefined {
    const { version, appliedVersion, delta } = this.coupon;
    return version > appliedVersion ? { version, delta, epoch: this.shard.epoch } : undefined;
  }

  /** Returns the outcome that counts, undefined while none is known. */
  settle(version: number, outcome: Outcome, epoch: number): Outcome | undefined {
    if (this.shard.epoch === epoch || !this.#rules.keeps("settlement's epoch")) this.applySettlement(version, outcome);
    return this.outcomes.get(version);
  }

  applySettlement(version: number, outcome: Outcome): void {
    const { coupon } = this;
    if (coupon.appliedVersion !== version - 1) return;
    coupon.appliedVersion = version;
    this.outcomes.set(version, outcome);
    if (outcome === 'applied') coupon.total += coupon.delta;
    this.changes++;
  }

  // By hand

  /** An operator gives up what a missing worker may have promised. */
  releaseByHand(epoch: number): void {
    const range = this.ranges.get(epoch);
    if (range === undefined || range.released) return;
    range.released = true;
    range.byHand = true;
    if (this.isOpen) this.shard.state = 'fenced';
    else if (this.#rules.keeps('release overtakes')) {
      this.shard.state = 'fenced';
      this.shard.token = 'nobody';
    }
    this.changes++;
  }
}
