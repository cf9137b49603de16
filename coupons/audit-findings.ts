// What an audit has found so far: per invariant, how often it was checked and where it did not hold, and the coupons that
// reconciliation may repair.
import type { AuditReport, InvariantName } from './coupons.js';

const EXAMPLES_MAX = 5;

const STATEMENTS: Readonly<Record<InvariantName, string>> = {
  I1: 'Claims held never exceed the stock granted.',
  I2: 'At most one claim per coupon and user.',
  I3: 'Every claim handed out is in the ledger, or in the outbox on its way there.',
  I4: 'No row in the ledger without a grant.',
  I5: 'remaining + claimed - returned + withheld = granted.',
  I6: 'Redis and the ledger hold the same receipt for a user.',
};

/** Something that can be repaired in a safe direction (coupons/reconcile.ts). */
export interface Defect {
  readonly kind: 'surplus_stock' | 'missing_rows';
  readonly shard: number;
  readonly couponId: string;
}

interface Finding {
  checked: number;
  violations: number;
  examples: string[];
}

export class Findings {
  readonly #byName = new Map<InvariantName, Finding>();
  readonly #onDefect: (defect: Defect) => void;

  constructor(onDefect: (defect: Defect) => void) {
    this.#onDefect = onDefect;
  }

  /** `example` says what is wrong; it is only asked for when it is. */
  check(name: InvariantName, holds: boolean, example: () => string): void {
    const finding = this.#of(name);
    finding.checked++;
    if (holds) return;
    finding.violations++;
    if (finding.examples.length < EXAMPLES_MAX) finding.examples.push(example());
  }

  defect(defect: Defect): void {
    this.#onDefect(defect);
  }

  list(): AuditReport['invariants'] {
    return (Object.keys(STATEMENTS) as InvariantName[]).map((name) => ({
      name,
      statement: STATEMENTS[name],
      ...this.#of(name),
    }));
  }

  #of(name: InvariantName): Finding {
    const finding = this.#byName.get(name) ?? { checked: 0, violations: 0, examples: [] };
    this.#byName.set(name, finding);
    return finding;
  }
}
