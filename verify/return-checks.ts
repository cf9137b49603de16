// The checks of returned claims over one coupon. Pure.
import { heard, isGranted, isReturned, MOMENTARY_CODES, sameReceipt, UNEXPECTED_STATUS } from './answers.js';
import type { Findings } from './checker.js';
import { keptOf } from './checks.js';
import type { CouponHistory } from './coupon-history.js';
import { mayHaveReturned } from './coupon-history.js';
import type { ClaimOperation, FinalRow, ReturnOperation } from './history.js';

/** Refusals that the coupon or the user's own doing explains. */
const RETURN_CODES = new Set(['not_claimed', 'not_returnable']);

/** returned, forgotten, wrong_refusal, answers: user by user. */
export function checkReturns(coupon: CouponHistory, findings: Findings): void {
  const { couponId, byUser, returnsByUser, final, rowOf, created, losses } = coupon;
  for (const row of final.rows) {
    if (row.returnedAt === null) continue;
    const asked = (returnsByUser.get(row.userId) ?? []).some(mayHaveReturned);
    findings.check('returned', asked, () => `${couponId}: row ${row.claimNo} of ${row.userId} is given back, unasked`);
  }
  for (const [userId, returns] of returnsByUser) {
    const who = `${couponId}: ${userId}`;
    const claims = byUser.get(userId) ?? [];
    const row = rowOf.get(userId);
    const kept = returns.filter(isReturned).filter((asked) => {
      return !losses.isGone(asked, asked.outcome.receipt, row, isSameReturn(asked.outcome, row));
    });
    for (const asked of kept) {
      findings.check(
        'returned',
        isSameReturn(asked.outcome, row),
        () => `${who} heard ${heard(asked)}, row: ${JSON.stringify(row)}`,
      );
      checkStaysReturned(who, asked, claims, findings);
    }
    for (const asked of returns) {
      findings.check('answers', isInContract(asked), () => `${who} heard ${heard(asked)}`);
      if (asked.outcome.result !== 'refused') continue;
      const { code } = asked.outcome;
      if (code === 'not_returnable') {
        findings.check('wrong_refusal', created?.returnable === false, () => `${who} heard ${heard(asked)}`);
      } else if (code === 'not_claimed') {
        const knew = keptOf(coupon, userId).some((claim) => claim.completedAt < asked.invokedAt);
        findings.check('forgotten', !knew, () => `${who} holds a receipt and heard ${heard(asked)}`);
      }
    }
    const allowed = created === undefined || created.returnable || kept.length === 0;
    findings.check('returned', allowed, () => `${who} gave back a claim that is not returnable`);
  }
}

function checkStaysReturned(
  who: string,
  asked: ReturnOperation,
  claims: readonly ClaimOperation[],
  findings: Findings,
): void {
  for (const claim of claims) {
    if (claim.invokedAt <= asked.completedAt) continue;
    findings.check('returned', !isGranted(claim), () => `${who} heard ${heard(asked)} and then ${heard(claim)}`);
  }
}

function isSameReturn(
  outcome: { receipt: { claimNo: number; claimedAt: number }; returnedAt: number },
  row?: FinalRow,
): boolean {
  return row !== undefined && sameReceipt(row, outcome.receipt) && row.returnedAt === outcome.returnedAt;
}

function isInContract({ outcome }: ReturnOperation): boolean {
  if (outcome.result === 'unknown') return !outcome.reason.startsWith(UNEXPECTED_STATUS);
  return outcome.result === 'returned' || RETURN_CODES.has(outcome.code) || MOMENTARY_CODES.has(outcome.code);
}
