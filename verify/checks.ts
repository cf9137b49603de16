// The checks of claims over one coupon. Each decides only what is certain from the times of asking and answer, so that a slow
// machine never looks like a broken promise. Pure.
import type { Granted } from './answers.js';
import { FINAL_CODES, heard, isGranted, MOMENTARY_CODES, sameReceipt, told, UNEXPECTED_STATUS } from './answers.js';
import type { Findings } from './checker.js';
import type { CouponHistory } from './coupon-history.js';
import { groupBy, mayHaveGranted, mayHaveReturned } from './coupon-history.js';
import type { ClaimOperation } from './history.js';

const key = ({ claimNo, claimedAt }: { claimNo: number; claimedAt: number }): string => `${claimNo}:${claimedAt}`;

/** lost, doubled, unexpected, changed, forgotten, refused_but_granted, answers: user by user. */
export function checkClaims(coupon: CouponHistory, findings: Findings): void {
  const { couponId, byUser, final, rowOf } = coupon;
  for (const row of final.rows) {
    findings.check('unexpected', byUser.has(row.userId), () => `${couponId}: row ${row.claimNo} of ${row.userId}`);
  }
  for (const [userId, claims] of byUser) {
    const who = `${couponId}: ${userId}`;
    const row = rowOf.get(userId);
    const granted = keptOf(coupon, userId);
    const [first] = granted;
    if (first !== undefined) {
      const { receipt } = first.outcome;
      findings.check('lost', row !== undefined, () => `${who} was told ${told(receipt)} and has no row`);
      const receipts = new Set([...granted.map((claim) => key(claim.outcome.receipt)), ...(row ? [key(row)] : [])]);
      findings.check('changed', receipts.size === 1, () => {
        return `${who} heard ${granted.map((claim) => told(claim.outcome.receipt)).join(', ')}, row: ${row ? told(row) : 'none'}`;
      });
      const news = granted.filter((claim) => claim.outcome.status === 'claimed').length;
      findings.check('doubled', news <= 1, () => `${who} heard "claimed" ${news} times`);
      checkRemembered(who, claims, granted, coupon, findings);
    }
    checkRefusedForGood(who, claims, claims.filter(isGranted), row !== undefined, findings);
    for (const claim of claims) {
      findings.check('answers', isInContract(claim), () => `${who} heard ${heard(claim)}`);
    }
    const last = claims.at(-1);
    findings.check('answers', last === undefined || isFinal(last), () => `${who} heard at last ${heard(last)}`);
  }
}

/** The grants that a user heard of, without those that are gone within the window of the level. */
export function keptOf({ byUser, rowOf, losses }: CouponHistory, userId: string): Granted[] {
  const row = rowOf.get(userId);
  return (byUser.get(userId) ?? []).filter(isGranted).filter((claim) => {
    const { receipt } = claim.outcome;
    return !losses.isGone(claim, receipt, row, row !== undefined && sameReceipt(row, receipt));
  });
}

function checkRemembered(
  who: string,
  claims: readonly ClaimOperation[],
  granted: readonly Granted[],
  { returnsByUser }: CouponHistory,
  findings: Findings,
): void {
  const knownAt = Math.min(...granted.map((claim) => claim.completedAt));
  const returns = (returnsByUser.get(claims[0]?.userId ?? '') ?? []).filter(mayHaveReturned);
  for (const claim of claims) {
    if (claim.invokedAt <= knownAt) continue;
    const { outcome } = claim;
    // Whoever may have given it back may be told so.
    const isBack = outcome.result === 'refused' && outcome.code === 'returned' && returns.length > 0;
    const denied = outcome.result === 'refused' && !MOMENTARY_CODES.has(outcome.code) && !isBack;
    findings.check('forgotten', !denied, () => `${who} holds a receipt and heard ${heard(claim)}`);
  }
}

/** Who has a claim must have had a request that can have granted it. */
function checkRefusedForGood(
  who: string,
  claims: readonly ClaimOperation[],
  granted: readonly Granted[],
  hasRow: boolean,
  findings: Findings,
): void {
  const grantedBy = Math.min(Infinity, ...granted.map((claim) => claim.completedAt));
  const hasClaim = hasRow || granted.length > 0;
  const explained = !hasClaim || claims.some((claim) => mayHaveGranted(claim) && claim.invokedAt < grantedBy);
  findings.check('refused_but_granted', explained, () => {
    return `${who} has a claim, though every request before it was refused: ${claims.map(heard).join(', ')}`;
  });
}

/** lost and doubled, number by number. */
export function checkNumbers({ couponId, claims, final, losses }: CouponHistory, findings: Findings): void {
  const numbers = groupBy(final.rows, (row) => String(row.claimNo));
  // What Redis has forgotten leaves gaps that nobody was told of.
  const highest = losses.possible ? 0 : Math.max(0, ...final.rows.map((row) => row.claimNo));
  const isVoid = (claimNo: number): boolean =>
    final.ranges.some(({ firstNo, lastNo }) => firstNo <= claimNo && claimNo <= lastNo);
  for (let claimNo = 1; claimNo <= highest; claimNo++) {
    findings.check(
      'lost',
      numbers.has(String(claimNo)) || isVoid(claimNo),
      () => `${couponId}: number ${claimNo} has no row`,
    );
  }
  const users = groupBy(final.rows, (row) => row.userId);
  for (const [userId, rows] of users) {
    findings.check('doubled', rows.length === 1, () => `${couponId}: ${userId} has ${rows.length} rows`);
  }
  const holders = groupBy(
    [
      ...claims.filter(isGranted).map(({ userId, outcome }) => ({ userId, claimNo: outcome.receipt.claimNo })),
      ...final.rows,
    ],
    (holder) => String(holder.claimNo),
  );
  for (const [claimNo, all] of holders) {
    const different = new Set(all.map((holder) => holder.userId));
    findings.check('doubled', different.size === 1, () => {
      return `${couponId}: number ${claimNo} belongs to ${[...different].join(' and ')}`;
    });
  }
}

/** oversold: at every moment a receipt was heard, and in the end. */
export function checkTotals(coupon: CouponHistory, findings: Findings): void {
  const { couponId, byUser, final, losses } = coupon;
  // Users who certainly hold a claim: from the answer on, until they ask to give it back. One that is lost holds a unit, too,
  // until an operator gives it up.
  const steps = [...byUser].flatMap(([userId, claims]) => {
    const from = Math.min(...claims.filter(isGranted).map((claim) => claim.completedAt));
    if (from === Infinity) return [];
    const kept = keptOf(coupon, userId).length > 0;
    const to = Math.min(givenBackFrom(coupon, userId), kept ? Infinity : losses.heldUntil);
    return to <= from ? [] : [{ at: from, held: 1 }, ...(to < Infinity ? [{ at: to, held: -1 }] : [])];
  });
  let held = 0;
  for (const step of steps.sort((a, b) => a.at - b.at || a.held - b.held)) {
    held += step.held;
    const [now, total] = [held, coupon.totalAtMost(step.at)];
    findings.check(
      'oversold',
      step.held < 0 || now <= total,
      () => `${couponId}: ${now} users hold receipts of ${total} units`,
    );
  }
  const holders = new Set(final.rows.filter((row) => row.returnedAt === null).map((row) => row.userId));
  for (const userId of byUser.keys()) {
    if (keptOf(coupon, userId).length > 0 && givenBackFrom(coupon, userId) === Infinity) holders.add(userId);
  }
  findings.check('oversold', holders.size <= coupon.total, () => {
    return `${couponId}: in the end ${holders.size} users hold claims of ${coupon.total} units`;
  });
}

/** The earliest moment from which the user may hold nothing any more. */
function givenBackFrom({ returnsByUser }: CouponHistory, userId: string): number {
  const asked = (returnsByUser.get(userId) ?? []).filter(mayHaveReturned);
  return Math.min(Infinity, ...asked.map((operation) => operation.invokedAt));
}

function isInContract({ outcome }: ClaimOperation): boolean {
  if (outcome.result === 'unknown') return !outcome.reason.startsWith(UNEXPECTED_STATUS);
  return outcome.result === 'granted' || FINAL_CODES.has(outcome.code) || MOMENTARY_CODES.has(outcome.code);
}

function isFinal({ outcome }: ClaimOperation): boolean {
  return outcome.result === 'granted' || (outcome.result === 'refused' && FINAL_CODES.has(outcome.code));
}
