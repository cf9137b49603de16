// An installation that claims: with a ledger, a claim service and a coupon service in the test's own process, and what the
// tests of them keep doing.
import type { ClaimOutcome } from '../../cluster/claims/claim-service.js';
import type { CouponsService } from '../../coupons/coupons.js';
import type { AwaitedClaims } from './awaited-claims.js';
import type { Installation, RunningLedger } from './installation.js';
import { createInstallation } from './installation.js';
import { waitFor } from './wait-for.js';

export interface Claiming {
  readonly installation: Installation;
  readonly ledger: RunningLedger;
  readonly claims: AwaitedClaims;
  readonly coupons: CouponsService;
  /** All at once; the outcomes in the order of the users. */
  readonly claimAll: (couponId: string, who: readonly string[]) => Promise<ClaimOutcome[]>;
  readonly outboxEmpty: () => Promise<void>;
  /** Redis was restarted: every part knows that the coupon's shard has been rebuilt since. */
  readonly shardsAreBack: (couponId: string) => Promise<void>;
}

export async function startClaiming(): Promise<Claiming> {
  const installation = await createInstallation();
  const ledger = await installation.startLedger();
  const claims = await installation.startClaims();
  const coupons = await installation.startCoupons();
  return {
    installation,
    ledger,
    claims,
    coupons,
    claimAll: (couponId, who) => Promise.all(who.map((user) => claims.claim(couponId, user))),
    outboxEmpty: async () => {
      await waitFor(async () => (await installation.outboxEntries()) === 0, { what: 'the outbox to be empty' });
    },
    shardsAreBack: async (couponId) => {
      await waitFor(() => installation.redis.status === 'ready', { what: 'Redis' });
      await waitFor(async () => (await coupons.show(couponId)).live !== null, { what: 'the shard' });
      await waitFor(async () => 'total' in (await claims.coupon(couponId)), { what: 'the claim service' });
    },
  };
}
