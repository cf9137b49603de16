// The audit of one coupon, given what Redis and the outbox said of it a moment ago (coupons/audit.ts says in which order
// things are read). Reads MySQL and Redis' receipts, a page at a time; holds no more than the outbox in memory.
import type { ClaimRow } from './coupons.js';
import type { Findings } from './audit-findings.js';
import type { ChangeContext } from './changes.js';
import { readClaims } from './claim-log.js';
import type { CouponRow } from './coupon-table.js';
import { couponKeys } from './keys.js';
import { isSameClaim, isSameReceipt, readReceipts } from './receipt.js';
import type { NumberRange } from './withheld.js';
import { readRanges } from './withheld.js';
import type { GrantEntry, ReturnEntry } from './outbox.js';
import type { RowDataPacket } from '../platform/mysql.js';

const PAGE = 1_000;

/** Of one coupon, at one moment, as Redis has them. */
export interface Counters {
  readonly total: number;
  readonly remaining: number;
  readonly highest: number;
  /** Claims given back, and those of them whose units are not back in stock yet. */
  readonly returned: number;
  readonly returning: number;
  /** Numbers up to the highest that nobody has, and those of them whose units are kept back. */
  readonly voids: number;
  readonly withheld: number;
  readonly version: number;
  /** Its receipts are in MySQL alone. */
  readonly archived: boolean;
}

interface StockSums {
  /** MySQL's own sum of what is applied. */
  readonly total: number;
  readonly applied: number;
  readonly granted: number;
  readonly appliedByThen: number;
  readonly pendingByThen: number;
}

export class CouponAudit {
  readonly #context: ChangeContext;
  readonly #findings: Findings;
  readonly #row: CouponRow;
  readonly #counters: Counters;
  readonly #readAgain: () => Promise<Counters | undefined>;
  /** What is on its way to the ledger, or put aside: claims by number and by user, and the numbers of returns. */
  readonly #userOf: Map<number, string>;
  readonly #numberOf: Map<string, number>;
  readonly #returning: Set<number>;
  #rowsMissing = false;
  /** Numbers in these may belong to nobody: they are recorded as such. */
  #ranges: readonly NumberRange[] = [];

  constructor(
    context: ChangeContext,
    findings: Findings,
    row: CouponRow,
    counters: Counters,
    outbox: readonly (GrantEntry | ReturnEntry)[],
    readAgain: () => Promise<Counters | undefined>,
  ) {
    this.#context = context;
    this.#findings = findings;
    this.#row = row;
    this.#counters = counters;
    this.#readAgain = readAgain;
    const grants = outbox.filter((entry) => entry.kind === 'grant');
    const returns = outbox.filter((entry) => entry.kind === 'return');
    this.#userOf = new Map(grants.map((grant) => [grant.claimNo, grant.userId]));
    this.#numberOf = new Map(grants.map((grant) => [grant.userId, grant.claimNo]));
    this.#returning = new Set(returns.map((one) => one.claimNo));
    // Two entries of one number or of one user: one of them is not in the maps.
    const single = this.#userOf.size === grants.length && this.#numberOf.size === grants.length;
    if (!single) findings.check('I2', false, () => `${row.couponId}: the outbox gives a number or a user twice`);
    const once = this.#returning.size === returns.length;
    if (!once) findings.check('I5', false, () => `${row.couponId}: the outbox returns a number twice`);
  }

  async run(): Promise<void> {
    const { couponId } = this.#row;
    const { highest } = this.#counters;
    // Some returns may be in the outbox and, since it was read, in the ledger.
    const returned = new Set(this.#returning);
    this.#ranges = await readRanges(this.#context.mysql, couponId);
    let last = 0;
    let rows = 0;
    for (;;) {
      const page = await readClaims(this.#context.mysql, couponId, { after: last, limit: PAGE });
      if (page.length === 0) break;
      for (const row of page) {
        this.#checkGap(last, row.claimNo);
        this.#compareWithOutbox(row);
        last = row.claimNo;
        rows++;
        if (row.returnedAt !== null) returned.add(row.claimNo);
      }
      if (!this.#counters.archived) await this.#compareReceipts(page);
    }
    this.#checkGap(last, highest + 1);
    const log = await this.#stockLog();
    const after = (await this.#readAgain())?.returned ?? this.#counters.returned;
    this.#rowsMissing ||= returned.size < this.#counters.returned;
    this.#checkReturns(returned.size, after);
    this.#checkStock(log, rows - after);
    this.#tellDefects();
  }

  #tellDefects(): void {
    const { shard, couponId } = this.#row;
    const { remaining, total, highest, voids, returned, returning, withheld } = this.#counters;
    if (this.#rowsMissing) this.#findings.defect({ kind: 'missing_rows', shard, couponId });
    const rightful = total - (highest - voids - returned) - returning - withheld;
    if (remaining > rightful) this.#findings.defect({ kind: 'surplus_stock', shard, couponId });
  }

  /** Numbers between two rows that were handed out must be on their way. */
  #checkGap(after: number, before: number): void {
    const { couponId } = this.#row;
    for (let claimNo = after + 1; claimNo < before && claimNo <= this.#counters.highest; claimNo++) {
      const accounted = this.#userOf.has(claimNo) || this.#isWithheld(claimNo);
      this.#rowsMissing ||= !accounted;
      this.#findings.check(
        'I3',
        accounted,
        () => `${couponId}: number ${claimNo} is neither in the ledger nor on its way there`,
      );
    }
    if (before <= this.#counters.highest) this.#findings.check('I3', true, () => '');
  }

  #isWithheld(claimNo: number): boolean {
    return this.#ranges.some(({ firstNo, lastNo }) => firstNo <= claimNo && claimNo <= lastNo);
  }

  /** An entry that is in the outbox and in the ledger is one claim, if both say the same. */
  #compareWithOutbox({ claimNo, userId }: ClaimRow): void {
    const user = this.#userOf.get(claimNo) ?? userId;
    const number = this.#numberOf.get(userId) ?? claimNo;
    const { couponId } = this.#row;
    this.#findings.check('I2', user === userId && number === claimNo, () => {
      return `${couponId}: the outbox gives number ${claimNo} or "${userId}" a second time`;
    });
  }

  async #compareReceipts(rows: readonly ClaimRow[]): Promise<void> {
    const { couponId, shard } = this.#row;
    const key = couponKeys(shard, couponId).claimedUser;
    const receipts = await readReceipts(this.#context.redis, key, rows);
    // It may have been archived since its counters were read.
    if (receipts.includes(null) && (await this.#readAgain())?.archived === true) return;
    rows.forEach((row, i) => {
      const receipt = receipts[i];
      const granted = receipt !== null;
      this.#findings.check('I4', granted, () => `${couponId}: row ${row.claimNo} of "${row.userId}" was never granted`);
      if (!granted) return;
      // Redis knows of a return before the ledger does.
      const same = row.returnedAt === null ? isSameClaim(receipt, row) : isSameReceipt(receipt, row);
      this.#findings.check(
        'I6',
        same,
        () => `${couponId}: "${row.userId}" has ${JSON.stringify(receipt)} in Redis, row ${row.claimNo}`,
      );
    });
  }

  /** Every return that Redis counts is on its way or in the ledger, and there are no others. */
  #checkReturns(known: number, after: number): void {
    const { couponId } = this.#row;
    const before = this.#counters.returned;
    this.#findings.check('I5', known >= before, () => {
      return `${couponId}: Redis counts ${before} returns, outbox and ledger ${known}`;
    });
    this.#findings.check('I1', known <= after, () => {
      return `${couponId}: outbox and ledger have ${known} returns, Redis gave back ${after}`;
    });
  }

  /**
   * What Redis believes must add up, and must be what operators granted. `heldRows`: rows less every return since: a return
   * may be on its way while the lowering of stock that it made room for is settled already.
   */
  #checkStock(log: StockSums, heldRows: number): void {
    const { couponId, appliedVersion } = this.#row;
    const { highest, returned, returning, voids, withheld, remaining, total, version } = this.#counters;
    const held = highest - voids - returned;
    this.#findings.check('I1', held <= total, () => `${couponId}: ${held} claims held, ${total} granted`);
    const sum = remaining + held + returning + withheld;
    this.#findings.check('I5', sum === total, () => {
      return `${couponId}: ${remaining} left + ${held} held + ${returning} coming back + ${withheld} withheld = ${sum}, granted ${total}`;
    });
    // The row was read before Redis was: Redis cannot be behind what was known to be applied.
    this.#findings.check('I5', version >= appliedVersion, () => {
      return `${couponId}: Redis has version ${version}, MySQL knows ${appliedVersion} as applied`;
    });
    this.#findings.check('I1', heldRows <= log.granted, () => {
      return `${couponId}: ${heldRows} rows held in the ledger, ${log.granted} granted by its stock log`;
    });
    this.#findings.check('I5', log.total === log.applied, () => {
      return `${couponId}: MySQL has a total of ${log.total}, its stock log ${log.applied}`;
    });
    // A change that Redis has decided and MySQL has not settled can only be the last one: it was applied if that fits.
    const fits = total === log.appliedByThen || total === log.appliedByThen + log.pendingByThen;
    this.#findings.check('I5', fits, () => {
      return `${couponId}: Redis has a total of ${total} at version ${version}, the stock log ${log.appliedByThen}`;
    });
  }

  /**
   * Sums of the stock log, at one moment: all that is applied, all that may be (`granted`), and of both what concerns the
   * versions up to the one that Redis had.
   */
  async #stockLog(): Promise<StockSums> {
    const [rows] = await this.#context.mysql.query<RowDataPacket[]>(
      `SELECT coupon.total, log.version <= ? AS by_then, status, SUM(delta) AS delta
         FROM coupon JOIN coupon_stock_log AS log USING (coupon_id) WHERE coupon_id = ?
        GROUP BY coupon.total, by_then, status`,
      [this.#counters.version, this.#row.couponId],
    );
    const sum = (statuses: readonly string[], byThen: readonly number[]): number =>
      rows
        .filter((row) => statuses.includes(String(row['status'])) && byThen.includes(Number(row['by_then'])))
        .reduce((total, row) => total + Number(row['delta']), 0);
    const increases = rows
      .filter((row) => row['status'] === 'pending')
      .reduce((total, row) => total + Math.max(0, Number(row['delta'])), 0);
    return {
      total: Number(rows[0]?.['total'] ?? 0),
      applied: sum(['applied'], [0, 1]),
      granted: sum(['applied'], [0, 1]) + increases,
      appliedByThen: sum(['applied'], [1]),
      pendingByThen: sum(['pending'], [1]),
    };
  }
}
