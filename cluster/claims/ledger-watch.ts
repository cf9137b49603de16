// Waits until claims are in the ledger, for coupons at acknowledgement level `ledger`: asks MySQL, the authority itself, for
// the rows of all claims that wait, again and again while any does. Reads only.
import type { Receipt } from './claim-service.js';
import type { Grant } from '../../coupons/claim-log.js';
import { isGrant, isReturn, numberKey, readRows } from '../../coupons/claim-log.js';
import type { Log } from '../../platform/log.js';
import type { Pool } from '../../platform/mysql.js';

/** A commit takes the ledger some 10 ms at the least; looking more often would only cost. */
const LOOK_INTERVAL_MS = 10;
/** Claims that may wait in one process; the rest of a stampede hears `outcome_unknown` at once. */
const WAITING_MAX = 20_000;
/** Claims asked for in one look. */
const LOOK_MAX = 2_000;

interface Waiting extends Omit<Grant, 'epoch'> {
  /** Undefined: a claim is waited for; else its return at this time, epoch ms. */
  readonly returnedAt: number | undefined;
  readonly deadline: number;
  readonly answer: (committed: boolean) => void;
}

export class LedgerWatch {
  readonly #mysql: Pool;
  readonly #log: Log;
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  #stopped = false;
  #trouble = false;

  constructor(mysql: Pool, log: Log) {
    this.#mysql = mysql;
    this.#log = log;
  }

  /**
   * True when MySQL has committed this very claim, or its return where the receipt has one; false when it has not by
   * `deadline` (epoch ms). Never rejects.
   */
  whenCommitted(
    couponId: string,
    userId: string,
    receipt: Receipt & { readonly returnedAt?: number },
    deadline: number,
  ): Promise<boolean> {
    if (this.#stopped || this.#waiting.length >= WAITING_MAX) return Promise.resolve(false);
    return new Promise((answer) => {
      const { claimNo, claimedAt, returnedAt } = receipt;
      this.#waiting.push({ couponId, claimNo, userId, at: claimedAt, returnedAt, deadline, answer });
      this.#timer ??= setInterval(() => this.#tick(), LOOK_INTERVAL_MS);
    });
  }

  /** Answers false to whoever still waits. */
  stop(): void {
    this.#stopped = true;
    this.#answer((waiting) => {
      waiting.answer(false);
      return true;
    });
  }

  #tick(): void {
    const now = Date.now();
    this.#answer((waiting) => {
      const late = waiting.deadline <= now;
      if (late) waiting.answer(false);
      return late;
    });
    if (this.#looking || this.#waiting.length === 0) return;
    this.#looking = true;
    this.#look()
      .then(
        () => {
          this.#trouble = false;
        },
        (error: unknown) => {
          // One line per outage, not one per look.
          if (!this.#trouble) this.#log.warn({ err: error }, 'MySQL cannot tell what is committed');
          this.#trouble = true;
        },
      )
      .finally(() => {
        this.#looking = false;
      });
  }

  async #look(): Promise<void> {
    const rows = await readRows(this.#mysql, this.#waiting.slice(0, LOOK_MAX));
    this.#answer((waiting) => {
      const row = rows.get(numberKey(waiting));
      const { returnedAt } = waiting;
      const committed =
        returnedAt === undefined ? isGrant(row, waiting) : isReturn(row, { ...waiting, at: returnedAt });
      if (committed) waiting.answer(true);
      return committed;
    });
  }

  /** Drops those of whom `answered` says so. */
  #answer(answered: (waiting: Waiting) => boolean): void {
    this.#waiting = this.#waiting.filter((waiting) => !answered(waiting));
    if (this.#waiting.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
