// The checks of refusals, windows, pauses and changes of stock, over one coupon. Like those of checks.ts they decide only
// what is certain from the times of asking and answer. Pure.
import { heard, isGranted, MOMENTARY_CODES, spanOf, timeOf, within } from './answers.js';
import type { Findings } from './checker.js';
import type { CouponHistory, Span } from './coupon-history.js';
import { CLOCK_TOLERANCE_MS, groupBy, mayHaveReturned } from './coupon-history.js';

/** What operators may hear, besides success. */
const OPERATOR_REFUSALS = /^(no answer|503 |409 below_claimed$)/;

/** wrong_sold_out, wrong_refusal, outside: answers against the state of the coupon at the time. */
export function checkRefusals(coupon: CouponHistory, findings: Findings): void {
  const { couponId, created } = coupon;
  const paused = coupon.certainly('paused');
  const open = coupon.certainly('open');
  for (const claim of coupon.claims) {
    const span = spanOf(claim);
    const what = (): string => `${couponId}: ${claim.userId} heard ${heard(claim)}`;
    if (isGranted(claim)) {
      if (claim.outcome.status === 'claimed') {
        const inPause = paused.some((outer) => within(span, outer));
        findings.check('outside', !inPause, () => `${what()} while it was paused`);
      }
      const { claimedAt } = claim.outcome.receipt;
      const early = created?.opensAt != null && claimedAt < created.opensAt;
      const late = created?.closesAt != null && claimedAt >= created.closesAt;
      findings.check('outside', !early && !late, () => `${what()} outside its window`);
    } else if (claim.outcome.result === 'refused') {
      const { code } = claim.outcome;
      if (code === 'sold_out') {
        const left = coupon.remainingAtLeast(span);
        findings.check('wrong_sold_out', left <= 0, () => `${what()} while at least ${left} units were left`);
      } else if (code === 'returned') {
        const asked = coupon.returnsByUser.get(claim.userId) ?? [];
        const mayBe = asked.some((other) => mayHaveReturned(other) && other.invokedAt < claim.completedAt);
        findings.check('wrong_refusal', mayBe, () => `${what()} and never gave it back`);
      } else if (!MOMENTARY_CODES.has(code)) {
        const wrong = isWrong(code, span, coupon, open);
        findings.check('wrong_refusal', !wrong, () => `${what()} while that was not so`);
      }
    }
  }
}

function isWrong(code: string, span: Span, { created }: CouponHistory, open: readonly Span[]): boolean {
  if (created === undefined) return false;
  if (code === 'paused') return open.some((outer) => within(span, outer));
  if (code === 'not_open') return created.opensAt === null || span.from > created.opensAt + CLOCK_TOLERANCE_MS;
  if (code === 'ended') return created.closesAt === null || span.to < created.closesAt - CLOCK_TOLERANCE_MS;
  return code === 'unknown_coupon' && span.from > created.completedAt;
}

/** stock, answers to operators, and wrong_sold_out where it is about a change of stock. */
export function checkStock(coupon: CouponHistory, findings: Findings): void {
  const { couponId, stock, final, created } = coupon;
  for (const { kind, outcome, answer, invokedAt } of coupon.changes) {
    const known = outcome !== 'unknown' || OPERATOR_REFUSALS.test(answer);
    findings.check('answers', known, () => `${couponId}: ${kind} asked ${timeOf(invokedAt)} was answered ${answer}`);
  }
  const logged = groupBy(final.stock, (change) => change.key);
  for (const [keyOfChange, changes] of logged) {
    const asked = stock.find((operation) => operation.key === keyOfChange);
    const delta = asked?.delta ?? created?.total;
    const fits = changes.length === 1 && changes[0]?.delta === delta;
    findings.check('stock', fits, () => `${couponId}: ${keyOfChange} is logged as ${JSON.stringify(changes)}`);
  }
  for (const operation of stock) {
    const { key: keyOfChange, delta, outcome } = operation;
    if (outcome === 'unknown') continue;
    const applied = logged.get(keyOfChange)?.[0]?.applied ?? false;
    findings.check('stock', applied === (outcome === 'applied'), () => {
      return `${couponId}: ${keyOfChange} (${delta}) was answered ${outcome} and is ${applied ? '' : 'not '}applied`;
    });
    if (outcome !== 'below_claimed') continue;
    // A repeat tells of the decision at its first request, so the span begins there.
    const first = stock.find((other) => other.key === keyOfChange) ?? operation;
    const left = coupon.remainingAtLeast({ from: first.invokedAt, to: operation.completedAt });
    findings.check('wrong_sold_out', left + delta < 0, () => {
      return `${couponId}: ${keyOfChange} (${delta}) was refused while at least ${left} units were left`;
    });
  }
}
