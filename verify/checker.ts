// Compares what clients were told with what is there in the end, and says which promises were broken. Pure: history and
// final state in, verdict out. What each check means is one sentence in CHECKS; how it decides is in checks.ts.
import { checkClaims, checkNumbers, checkTotals } from './checks.js';
import { checkRefusals, checkStock } from './refusal-checks.js';
import { checkReturns } from './return-checks.js';
import { CouponHistory, groupBy, mayHaveGranted } from './coupon-history.js';
import type { FinalCoupon, FinalState, Operation } from './history.js';
import { Losses } from './losses.js';

export const CHECKS = {
  lost: 'Every receipt that a user holds gets its row in MySQL, not only by a repair, and no claim number is missing there.',
  doubled: 'No user has two claims of a coupon, and no claim number belongs to two users.',
  unexpected: 'No row belongs to a user who never asked for it.',
  changed: 'Whoever asks again gets the same receipt, and the row says the same.',
  forgotten: 'Nobody who holds a receipt is told later that they have none.',
  oversold: 'At every moment, receipts held never exceed the stock granted so far.',
  wrong_sold_out: 'Nobody is told "sold out" (or "below claimed") while stock was certainly left.',
  refused_but_granted: 'A request that was surely not granted has granted nothing.',
  outside: 'Nobody new succeeds while the coupon is paused or outside its window.',
  wrong_refusal: 'Nobody hears "paused", "not open", "ended" or "unknown" of a coupon that is certainly open.',
  returned: 'A claim that was given back stays given back, exactly once, with the same answer.',
  withheld: 'Nothing is withheld at level ledger, and nowhere after its release.',
  stock: 'Every change of stock took effect exactly as its answer said.',
  answers: 'Every answer is one that the contract knows, and after the faults every user gets a final one.',
  recovery: 'After the faults everything is ready again in time, with nobody helping.',
  audit: 'The audit of the service finds every invariant kept, and reconciliation had nothing to repair.',
  processes: 'No instance ended by itself.',
} as const;

export type CheckName = keyof typeof CHECKS;

export interface CheckResult {
  readonly name: CheckName;
  readonly statement: string;
  /** How many things were looked at. */
  readonly checked: number;
  readonly violations: number;
  /** The first few, one sentence each. */
  readonly examples: readonly string[];
}

export interface Verdict {
  readonly ok: boolean;
  readonly checks: readonly CheckResult[];
  /** Claims without an answer that turned out to be granted, and were found again. */
  readonly recovered: number;
  /** Receipts that are gone, each within the window of its level. */
  readonly lostInWindow: number;
}

const EXAMPLES_MAX = 10;

/** What a repair had made good; any other is the audit's. */
const REPAIRED_CHECKS: Readonly<Record<string, CheckName>> = { row_requeued: 'lost', return_requeued: 'returned' };

export class Findings {
  readonly #found = new Map<CheckName, { checked: number; violations: number; examples: string[] }>();

  /** `example` is only asked for when the check does not hold. */
  check(name: CheckName, holds: boolean, example: () => string): void {
    const found = this.#of(name);
    found.checked++;
    if (holds) return;
    found.violations++;
    if (found.examples.length < EXAMPLES_MAX) found.examples.push(example());
  }

  list(): CheckResult[] {
    return (Object.keys(CHECKS) as CheckName[]).map((name) => ({ name, statement: CHECKS[name], ...this.#of(name) }));
  }

  #of(name: CheckName) {
    const found = this.#found.get(name) ?? { checked: 0, violations: 0, examples: [] };
    this.#found.set(name, found);
    return found;
  }
}

export function check(history: readonly Operation[], final: FinalState): Verdict {
  const findings = new Findings();
  const operations = groupBy(history, (operation) => operation.couponId);
  const finals = new Map(final.coupons.map((coupon) => [coupon.couponId, coupon]));
  const losses = new Losses(final.circumstances);
  let recovered = 0;
  for (const couponId of new Set([...operations.keys(), ...finals.keys()])) {
    const coupon = new CouponHistory(
      couponId,
      operations.get(couponId) ?? [],
      finals.get(couponId) ?? nothing(couponId),
      losses,
    );
    checkClaims(coupon, findings);
    checkNumbers(coupon, findings);
    checkTotals(coupon, findings);
    checkReturns(coupon, findings);
    checkRefusals(coupon, findings);
    checkStock(coupon, findings);
    const { ranges } = coupon.final;
    const free = ranges.length === 0 || (losses.mayWithhold && ranges.every((range) => range.releasedAt < Infinity));
    findings.check('withheld', free, () => {
      return `${couponId}: ${ranges.map(({ firstNo, lastNo }) => `numbers ${firstNo} to ${lastNo}`).join(', ')}`;
    });
    recovered += recoveredClaims(coupon);
  }
  const { ms, limitMs, missing } = final.recovery;
  findings.check('recovery', missing.length === 0 && ms <= limitMs, () => {
    const what = missing.length === 0 ? '' : `, still missing: ${missing.join(', ')}`;
    return `not recovered within ${limitMs} ms${what}`;
  });
  findings.check('audit', final.audit.length === 0, () => final.audit.join('; '));
  for (const { kind, what } of final.repairs) {
    findings.check(REPAIRED_CHECKS[kind] ?? 'audit', false, () => `repaired by reconciliation: ${what}`);
  }
  findings.check('processes', final.ended.length === 0, () => final.ended.join('; '));
  const checks = findings.list();
  return { ok: checks.every((result) => result.violations === 0), checks, recovered, lostInWindow: losses.counted };
}

function recoveredClaims(coupon: CouponHistory): number {
  return coupon.final.rows.filter((row) => {
    const asked = coupon.byUser.get(row.userId) ?? [];
    return (
      asked.some(mayHaveGranted) && asked.filter(mayHaveGranted).every((claim) => claim.outcome.result === 'unknown')
    );
  }).length;
}

function nothing(couponId: string): FinalCoupon {
  return { couponId, rows: [], ranges: [], stock: [] };
}
