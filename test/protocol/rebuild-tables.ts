// The transactions of a rebuild, in the order of its steps. Each checks the lease first and answers undefined when another
// rebuild has overtaken this one.
import type { MySql, Range, Row, Shard } from './mysql.js';
import type { Entry, RedisCoupon } from './redis.js';
import type { Rules } from './rules.js';

export interface Lease {
  readonly epoch: number;
  readonly token: string;
  /** The last epoch under which workers could claim … */
  readonly openedEpoch: number;
  /** … and whether an earlier attempt has decided about it already. */
  readonly gathered: boolean;
}

export type Pass = 'newest' | 'older';

export class RebuildTables {
  readonly #mysql: MySql;
  readonly #rules: Rules;
  readonly #level: 'redis' | 'ledger';

  constructor(mysql: MySql, rules: Rules, level: 'redis' | 'ledger') {
    this.#mysql = mysql;
    this.#rules = rules;
    this.#level = level;
  }

  /** `seen` is what made the caller rebuild: it may be out of date by now. */
  take(seen: Shard, token: string): Lease | undefined {
    const { shard } = this.#mysql;
    if (shard.epoch !== seen.epoch) return undefined;
    const { openedEpoch, gatheredEpoch } = this.#rules.keeps('lease taken whole') ? shard : seen;
    shard.epoch++;
    shard.token = token;
    shard.state = 'rebuilding';
    this.#mysql.changes++;
    return { epoch: shard.epoch, token, openedEpoch, gathered: gatheredEpoch >= openedEpoch };
  }

  #holds({ epoch, token }: Lease): boolean {
    const { shard } = this.#mysql;
    if (!this.#rules.keeps("rebuild's lease")) return true;
    return shard.epoch === epoch && shard.token === token;
  }

  /** Names of workers that could claim under the last opened epoch and have not reported. */
  silent(lease: Lease): string[] | undefined {
    return this.#holds(lease) ? this.#mysql.silent(lease.openedEpoch) : undefined;
  }

  /** From here on a report of these workers is late. Returns how many they are. */
  decideMissing(lease: Lease): { missing: number } | undefined {
    return this.#holds(lease) ? { missing: this.#mysql.silent(lease.openedEpoch).length } : undefined;
  }

  #pass(lease: Lease, epoch: number): Pass {
    const newest = epoch === lease.openedEpoch && !(lease.gathered && this.#rules.keeps('gathered once'));
    return newest ? 'newest' : 'older';
  }

  /** Outbox entries. Returns the ids that may leave the outbox: all of this pass. */
  gather(lease: Lease, entries: readonly Entry[], pass: Pass): number[] | undefined {
    if (!this.#holds(lease)) return undefined;
    const taken = entries.filter((entry) => this.#pass(lease, entry.epoch) === pass);
    for (const entry of taken) {
      if (pass === 'newest') this.#mysql.writeEntry(entry);
      else if (entry.kind === 'grant' && (this.#inRange(entry) || !this.#rules.keeps('old entries only in ranges'))) {
        this.#mysql.insert({ ...entry, returned: false });
      }
    }
    return taken.map((entry) => entry.id);
  }

  /** Reports that came in time hold for any number, as the outbox does; late ones fill ranges. */
  gatherReports(lease: Lease, pass: Pass): true | undefined {
    if (!this.#holds(lease)) return undefined;
    const { rows, reports } = this.#mysql;
    const read = reports.filter((report) => this.#pass(lease, report.epoch) === pass);
    for (const report of read) {
      const ownReturn = report.returned && rows.get(report.no)?.user === report.user;
      if (pass === 'newest' || ownReturn || this.#inRange(report)) this.#mysql.insert(report);
    }
    this.#mysql.reports = reports.filter((report) => !read.includes(report));
    return true;
  }

  #inRange({ no, epoch }: { no: number; epoch: number }): boolean {
    return [...this.#mysql.ranges.values()].some(
      (range) =>
        !range.released &&
        no > range.base &&
        no <= range.last &&
        (range.epoch === epoch || !this.#rules.keeps('range of the same epoch')),
    );
  }

  #unfilled(range: Range, upTo = range.last): number {
    let count = 0;
    for (let no = range.base + 1; no <= upTo; no++) if (!this.#mysql.rows.has(no)) count++;
    return count;
  }

  /** Numbers of unreleased ranges that nobody has a row for. */
  withheld(): number {
    return [...this.#mysql.ranges.values()].reduce(
      (sum, range) => sum + (range.released ? 0 : this.#unfilled(range)),
      0,
    );
  }

  /**
   * With a worker of the last opened epoch missing: whatever that epoch can have handed out. Numbers up to `base` were
   * settled when it was opened; its stock then, what came back since, and a pending increase end it, or the ceiling does.
   */
  withhold(lease: Lease, missing: number): true | undefined {
    if (!this.#holds(lease)) return undefined;
    const { coupon, ranges } = this.#mysql;
    const epoch = lease.openedEpoch;
    if (lease.gathered && this.#rules.keeps('gathered once')) return true;
    // An attempt that broke off may have made this range from less than is known now; nothing was loaded from it.
    if (this.#rules.keeps('range made anew')) ranges.delete(epoch);
    const still = this.#rules.keeps('decision stands') ? missing : this.#mysql.silent(epoch).length;
    if (ranges.has(epoch) || still === 0 || !this.#rules.keeps('withholding')) return true;
    // At level ledger nobody is told of more than MySQL has.
    if (this.#level === 'ledger') return true;
    const increase = this.#rules.keeps('pending increase counts') ? this.#mysql.pendingIncrease : 0;
    const settledRows = [...this.#mysql.rows.keys()].filter((no) => no <= coupon.base).length;
    const left = coupon.total - settledRows + this.#returned() - this.withheld() + increase;
    const last = Math.min(coupon.ceiling, coupon.base + left);
    const base = this.#rules.keeps('gaps are withheld') ? coupon.base : Math.min(last, this.#highest());
    if (last > base) ranges.set(epoch, { epoch, base, last, released: false, byHand: false });
    return true;
  }

  /** The ranges are made: what the epoch left elsewhere counts as old from now on. */
  markGathered(lease: Lease): true | undefined {
    if (!this.#holds(lease)) return undefined;
    this.#mysql.shard.gatheredEpoch = lease.openedEpoch;
    return true;
  }

  /** What was not filled of a released range stays void for ever, and its units are free. */
  release(lease: Lease): true | undefined {
    if (!this.#holds(lease)) return undefined;
    if (this.#mysql.reports.length > 0 && this.#rules.keeps('unread reports forbid release')) return true;
    for (const range of this.#mysql.ranges.values()) {
      if (this.#mysql.silent(range.epoch).length === 0) range.released = true;
      if (!this.#rules.keeps('release when all reported')) range.released = true;
    }
    return true;
  }

  /** Nobody knows the outcome of a pending change, so it is decided here. */
  settlePending(lease: Lease): true | undefined {
    if (!this.#holds(lease)) return undefined;
    const pending = this.#mysql.pending();
    if (pending === undefined) return true;
    const withheld = this.#rules.keeps('withheld counts for changes') ? this.withheld() : 0;
    const remaining = this.#mysql.coupon.total - this.#mysql.rows.size + this.#returned() - withheld;
    this.#mysql.applySettlement(pending.version, remaining + pending.delta < 0 ? 'below_claimed' : 'applied');
    return true;
  }

  /** What Redis is loaded with. */
  load(lease: Lease, window: number): { coupon: RedisCoupon; rows: readonly (readonly [number, Row])[] } | undefined {
    if (!this.#holds(lease)) return undefined;
    const { coupon, rows, outcomes } = this.#mysql;
    const highest = this.#highest();
    const withheld = this.withheld();
    if (this.#rules.keeps('ceiling after withholding')) coupon.ceiling = Math.max(coupon.ceiling, highest + window);
    coupon.base = highest;
    const stock = coupon.total - rows.size + this.#returned() - withheld;
    const version = coupon.appliedVersion;
    return {
      coupon: {
        total: coupon.total,
        stock,
        highest,
        ceiling: coupon.ceiling,
        withheld,
        version,
        outcome: outcomes.get(version) ?? 'applied',
      },
      rows: [...rows].map(([no, row]) => [no, { ...row }] as const),
    };
  }

  open(lease: Lease): true | undefined {
    if (!this.#holds(lease)) return undefined;
    // It would be closed again at once.
    if (this.#mysql.reports.length > 0) return undefined;
    const { shard } = this.#mysql;
    shard.state = 'open';
    shard.openedEpoch = lease.epoch;
    this.#mysql.changes++;
    return true;
  }

  #highest(): number {
    const ranges = [...this.#mysql.ranges.values()].map((range) => range.last);
    return Math.max(this.#mysql.coupon.base, ...this.#mysql.rows.keys(), ...ranges);
  }

  #returned(): number {
    return [...this.#mysql.rows.values()].filter((row) => row.returned).length;
  }
}
