// What the answers of the service mean to the checks, and how a violation quotes them.
import type { Span } from './coupon-history.js';
import type { ClaimOperation, Receipt, ReturnOperation } from './history.js';

/** Refusals of the coupon itself: final until somebody changes it. */
export const FINAL_CODES = new Set(['sold_out', 'paused', 'not_open', 'ended', 'returned']);
/** Refusals of the moment: asking again is right. */
export const MOMENTARY_CODES = new Set(['overloaded', 'fenced', 'ledger_behind', 'unavailable']);
/** Begins the reason of an unknown outcome where there was an answer, but none that the contract knows. */
export const UNEXPECTED_STATUS = 'status ';

export type Granted = ClaimOperation & {
  readonly outcome: { result: 'granted'; status: 'claimed' | 'already_claimed'; receipt: Receipt };
};
export type Returned = ReturnOperation & {
  readonly outcome: { result: 'returned'; receipt: Receipt; returnedAt: number };
};

export const isGranted = (claim: ClaimOperation): claim is Granted => claim.outcome.result === 'granted';
export const isReturned = (asked: ReturnOperation): asked is Returned => asked.outcome.result === 'returned';
export const told = ({ claimNo, claimedAt }: Receipt): string =>
  `number ${claimNo} at ${new Date(claimedAt).toISOString()}`;
export const sameReceipt = (a: Receipt, b: Receipt): boolean => a.claimNo === b.claimNo && a.claimedAt === b.claimedAt;

/** Of an operation: it takes effect at some moment within. */
export function spanOf(asked: { invokedAt: number; completedAt: number }): Span {
  return { from: asked.invokedAt, to: asked.completedAt };
}

export function within(inner: Span, outer: Span): boolean {
  return inner.from >= outer.from && inner.to <= outer.to;
}

export function heard(asked: ClaimOperation | ReturnOperation | undefined): string {
  if (asked === undefined) return 'nothing';
  const { kind, invokedAt, completedAt, instance } = asked;
  const how = `asked ${timeOf(invokedAt)} at instance ${instance}, ${Math.round(completedAt - invokedAt)} ms`;
  return `"${answerOf(asked)}" (${kind === 'return' ? 'to a return, ' : ''}${how})`;
}

export function timeOf(moment: number): string {
  return new Date(moment).toISOString().slice(11);
}

function answerOf({ outcome }: ClaimOperation | ReturnOperation): string {
  switch (outcome.result) {
    case 'granted':
      return `${outcome.status} ${told(outcome.receipt)}`;
    case 'returned':
      return `returned ${told(outcome.receipt)}, given back ${timeOf(outcome.returnedAt)}`;
    case 'refused':
      return outcome.code;
    case 'unknown':
      return `unknown: ${outcome.reason}`;
  }
}
