// One call of lua/claim.lua: how a batch of claims becomes keys and arguments, and how the reply becomes outcomes.
// Pure functions; the sending is done elsewhere.
import type { ClaimOutcome } from './claim-service.js';
import type { PendingClaim } from './mailbox.js';
import type { OutboxEnds, WitnessedClaim } from './witness.js';
import type { Ack } from '../../coupons/definition.js';
import { couponKeys, fenceKey, outboxKey } from '../../coupons/keys.js';
import { byCoupon } from '../../coupons/claim-log.js';
import { CODE, errorOfCode } from '../../lua/codes.js';

export interface ClaimCall {
  readonly keys: string[];
  readonly args: (string | number)[];
  /** The claims in the order of the arguments, one group per coupon. */
  readonly groups: readonly (readonly PendingClaim[])[];
}

export function encodeClaims(shard: number, epoch: number, batch: readonly PendingClaim[]): ClaimCall {
  const keys = [fenceKey(shard), outboxKey(shard)];
  const args: (string | number)[] = [epoch];
  const groups = byCoupon(batch);
  for (const [couponId, claims] of groups) {
    const own = couponKeys(shard, couponId);
    keys.push(own.coupon, own.stock, own.claimedUser);
    args.push(couponId, claims.length);
    for (const claim of claims) args.push(claim.userId);
  }
  return { keys, args, groups: [...groups.values()] };
}

type ClaimReply = [
  code: number,
  now: number,
  acks: [ack: Ack, opensAt: number][],
  results: number[],
  ...ends: OutboxEnds | [],
];

export interface DecodedReply {
  /** What the script said of each claim, in the order of the groups. */
  readonly outcomes: readonly ClaimOutcome[];
  /** Those who have a claim by it: to be remembered before they hear of it. */
  readonly told: readonly WitnessedClaim[];
  /** Undefined: all were refused, and bind nobody. */
  readonly ends: OutboxEnds | undefined;
}

/** 'fenced': the script did nothing. */
export function decodeReply(reply: unknown, call: ClaimCall): 'fenced' | DecodedReply {
  const [code, , acks, results, ...ends] = reply as ClaimReply;
  if (code === CODE.FENCED) return 'fenced';
  const outcomes: ClaimOutcome[] = [];
  const told: WitnessedClaim[] = [];
  let at = 0;
  call.groups.forEach((claims, group) => {
    const [ack, opensAt] = acks[group] ?? (['redis', 0] as const);
    for (const { couponId, userId } of claims) {
      const outcome = outcomeOf(results[at] ?? 0, results[at + 1] ?? 0, results[at + 2] ?? 0, ack, opensAt);
      at += 3;
      outcomes.push(outcome);
      if (outcome.status === 'refused') continue;
      const { claimNo, claimedAt } = outcome.receipt;
      told.push({ couponId, userId, claimNo, at: claimedAt, returnedAt: undefined });
    }
  });
  return { outcomes, told, ends: ends.length === 0 ? undefined : ends };
}

function outcomeOf(code: number, claimNo: number, claimedAt: number, ack: Ack, opensAt: number): ClaimOutcome {
  if (code === CODE.CLAIMED) return { status: 'claimed', receipt: { claimNo, claimedAt, ack } };
  if (code === CODE.ALREADY_CLAIMED) return { status: 'already_claimed', receipt: { claimNo, claimedAt, ack } };
  if (code === CODE.NOT_OPEN) return { status: 'refused', code: 'not_open', opensAt };
  if (code === CODE.RETURNED) return { status: 'refused', code: 'returned', returnedAt: claimedAt };
  // A reply that is no refusal and no claim cannot be told from a claim.
  return { status: 'refused', code: code < 0 ? errorOfCode(code) : 'outcome_unknown' };
}
