// A claim service as tests want it: its claims are awaited, where the service calls back.
import type { ClaimOutcome } from '../../cluster/claims/claim-service.js';
import type { RunningClaimService } from '../../cluster/claims/redis-claim-service.js';

export interface AwaitedClaims extends Omit<RunningClaimService, 'claim'> {
  claim(couponId: string, userId: string): Promise<ClaimOutcome>;
}

export function awaited(claims: RunningClaimService): AwaitedClaims {
  return {
    // Heard in a later turn of the loop, as over a connection: whoever asked again in the same turn would leave no other a turn
    // while claims are refused at once.
    claim: (couponId, userId) =>
      new Promise((resolve) => {
        claims.claim(couponId, userId, (outcome) => setImmediate(resolve, outcome));
      }),
    claimAll: (couponId, userIds) => claims.claimAll(couponId, userIds),
    receipt: (couponId, userId) => claims.receipt(couponId, userId),
    returnClaim: (couponId, userId) => claims.returnClaim(couponId, userId),
    coupon: (couponId) => claims.coupon(couponId),
    unreadyReasons: () => claims.unreadyReasons(),
    start: () => claims.start(),
    whenOpen: (patience, stopping) => claims.whenOpen(patience, stopping),
    stop: (deadline) => claims.stop(deadline),
  };
}
