// What a level permits to be lost. A receipt may be gone only if Redis forgot it before it was seen to be in MySQL, and the
// worker that told it could not report: it died, or it was away so long that its user got another claim meanwhile. Which
// worker of an instance answered is not known, so any of that instance counts. At level ledger nothing may be lost. Pure.
import type { Circumstances, FinalRow, Receipt, UserOperation } from './history.js';

export class Losses {
  readonly #circumstances: Circumstances;
  readonly #gone = new Set<string>();

  constructor(circumstances: Circumstances) {
    this.#circumstances = circumstances;
  }

  /** Whether anything can be forgotten in this run. At level ledger a user hears only of what MySQL has, so nothing told can. */
  get possible(): boolean {
    return this.#circumstances.redisForgets;
  }

  get mayWithhold(): boolean {
    return this.#circumstances.ack !== 'ledger';
  }

  /** Receipts that are gone and may be, as far as they were asked for. */
  get counted(): number {
    return this.#gone.size;
  }

  /** Until then whoever was told holds a claim, lost or not: its unit is withheld. */
  get heldUntil(): number {
    return this.#circumstances.releasedAt ?? Infinity;
  }

  /** The first moment after this one at which all of before was in MySQL; Infinity: none was seen. */
  settledAfter(moment: number): number {
    return this.#circumstances.settled.find((settled) => settled > moment) ?? Infinity;
  }

  /** Whether MySQL says something else than this answer did, and may: counts it then. */
  isGone(asked: UserOperation, receipt: Receipt, row: FinalRow | undefined, matches: boolean): boolean {
    if (matches || !this.#mayBeGone(asked, row !== undefined)) return false;
    this.#gone.add(`${asked.kind} ${asked.couponId} ${asked.userId} ${receipt.claimNo}`);
    return true;
  }

  #mayBeGone({ instance, invokedAt, completedAt }: UserOperation, isSuperseded: boolean): boolean {
    const { ack, redisForgets, forgot, away } = this.#circumstances;
    if (!redisForgets || ack === 'ledger') return false;
    const settled = this.settledAfter(completedAt);
    const ofInstance = away.filter((span) => span.instance === instance);
    const deaths = ofInstance.filter((span) => span.to === Infinity && span.from >= invokedAt);
    const silent = ofInstance.some((span) => span.to < Infinity && span.from <= settled && span.to >= invokedAt);
    return (
      forgot.some((moment) => moment >= invokedAt && moment <= settled) &&
      (silent || deaths.some((span) => span.from <= settled)) &&
      (isSuperseded || deaths.length > 0)
    );
  }
}
