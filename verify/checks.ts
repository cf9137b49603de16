// The checks over one coupon. Each decides only what is certain from the times of asking and answer, so that a slow
// machine never looks like a broken promise. Pure.
import type { Findings } from './checker.js';
import type { CouponHistory, Span } from './coupon-history.js';
import { groupBy, mayHaveGranted } from './coupon-history.js';
import type { ClaimOperation, Receipt } from './history.js';

/** Refusals of the coupon itself: final until somebody changes it. */
const FINAL_CODES = new Set(['sold_out', 'paused', 'not_open', 'ended']);
/** Refusals of the moment: asking again is right. */
const MOMENTARY_CODES = new Set(['overloaded', 'fenced', 'ledger_behind', 'unavailable']);
/** Begins the reason of an unknown outcome where there was an answer, but none that the contract knows. */
export const UNEXPECTED_STATUS = 'status ';
/** What operators may hear, besides success. */
const OPERATOR_REFUSALS = /^(no answer|503 |409 below_claimed$)/;
/** Window checks compare the clock of this process with the shard's, on the same machine. */
const CLOCK_TOLERANCE_MS = 1_000;

type Granted = ClaimOperation & { readonly outcome: { result: 'granted'; status: string; receipt: Receipt } };

const isGranted = (claim: ClaimOperation): claim is Granted => claim.outcome.result === 'granted';
const told = ({ claimNo, claimedAt }: Receipt): string => `number ${claimNo} at ${new Date(claimedAt).toISOString()}`;
const key = ({ claimNo, claimedAt }: Receipt): string => `${claimNo}:${claimedAt}`;
const spanOf = (asked: { invokedAt: number; completedAt: number }): Span => ({
  from: asked.invokedAt,
  to: asked.completedAt,
});
const within = (inner: Span, outer: Span): boolean => inner.from >= outer.from && inner.to <= outer.to;

/** lost, doubled, unexpected, changed, forgotten, refused_but_granted, answers: user by user. */
export function checkClaims(coupon: CouponHistory, findings: Findings): void {
  const { couponId, byUser, final } = coupon;
  const rowOf = new Map(final.rows.map((row) => [row.userId, row]));
  for (const row of final.rows) {
    findings.check('unexpected', byUser.has(row.userId), () => `${couponId}: row ${row.claimNo} of ${row.userId}`);
  }
  for (const [userId, claims] of byUser) {
    const who = `${couponId}: ${userId}`;
    const granted = claims.filter(isGranted);
    const [first] = granted;
    const row = rowOf.get(userId);
    if (first !== undefined) {
      const { receipt } = first.outcome;
      findings.check('lost', row !== undefined, () => `${who} was told ${told(receipt)} and has no row`);
      const receipts = new Set([...granted.map((claim) => key(claim.outcome.receipt)), ...(row ? [key(row)] : [])]);
      findings.check('changed', receipts.size === 1, () => {
        return `${who} heard ${granted.map((claim) => told(claim.outcome.receipt)).join(', ')}, row: ${row ? told(row) : 'none'}`;
      });
      const news = granted.filter((claim) => claim.outcome.status === 'claimed').length;
      findings.check('doubled', news <= 1, () => `${who} heard "claimed" ${news} times`);
      checkRemembered(who, claims, granted, findings);
    }
    checkRefusedForGood(who, claims, granted, row !== undefined, findings);
    for (const claim of claims) {
      findings.check('answers', isInContract(claim), () => `${who} heard ${heard(claim)}`);
    }
    const last = claims.at(-1);
    findings.check('answers', last === undefined || isFinal(last), () => `${who} heard at last ${heard(last)}`);
  }
}

function checkRemembered(
  who: string,
  claims: readonly ClaimOperation[],
  granted: readonly Granted[],
  findings: Findings,
): void {
  const knownAt = Math.min(...granted.map((claim) => claim.completedAt));
  for (const claim of claims) {
    if (claim.invokedAt <= knownAt) continue;
    const { outcome } = claim;
    const denied = outcome.result === 'refused' && !MOMENTARY_CODES.has(outcome.code);
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
export function checkNumbers({ couponId, claims, final }: CouponHistory, findings: Findings): void {
  const numbers = groupBy(final.rows, (row) => String(row.claimNo));
  const highest = Math.max(0, ...final.rows.map((row) => row.claimNo));
  for (let claimNo = 1; claimNo <= highest; claimNo++) {
    findings.check('lost', numbers.has(String(claimNo)), () => `${couponId}: number ${claimNo} has no row`);
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
  const { couponId, byUser, final } = coupon;
  const heardAt = [...byUser.values()]
    .map((claims) => Math.min(...claims.filter(isGranted).map((claim) => claim.completedAt)))
    .filter((moment) => moment < Infinity)
    .sort((a, b) => a - b);
  heardAt.forEach((moment, before) => {
    const total = coupon.totalAtMost(moment);
    findings.check(
      'oversold',
      before < total,
      () => `${couponId}: ${before + 1} users hold receipts of ${total} units`,
    );
  });
  const held = new Set(final.rows.map((row) => row.userId));
  for (const [userId, claims] of byUser) if (claims.some(isGranted)) held.add(userId);
  findings.check('oversold', held.size <= coupon.total, () => {
    return `${couponId}: in the end ${held.size} users hold claims of ${coupon.total} units`;
  });
}

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

function isInContract({ outcome }: ClaimOperation): boolean {
  if (outcome.result === 'unknown') return !outcome.reason.startsWith(UNEXPECTED_STATUS);
  return outcome.result === 'granted' || FINAL_CODES.has(outcome.code) || MOMENTARY_CODES.has(outcome.code);
}

function isFinal({ outcome }: ClaimOperation): boolean {
  return outcome.result === 'granted' || (outcome.result === 'refused' && FINAL_CODES.has(outcome.code));
}

function heard(claim: ClaimOperation | undefined): string {
  if (claim === undefined) return 'nothing';
  const { invokedAt, completedAt, instance } = claim;
  return `"${answerOf(claim)}" (asked ${timeOf(invokedAt)} at instance ${instance}, ${Math.round(completedAt - invokedAt)} ms)`;
}

function timeOf(moment: number): string {
  return new Date(moment).toISOString().slice(11);
}

function answerOf({ outcome }: ClaimOperation): string {
  if (outcome.result === 'granted') return `${outcome.status} ${told(outcome.receipt)}`;
  return outcome.result === 'refused' ? outcome.code : `unknown: ${outcome.reason}`;
}
