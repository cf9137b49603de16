// What the server and the worker of the usual design agree on: keys, queue and table.

export const QUEUE = 'claims';

export interface ClaimJob {
  readonly couponId: string;
  readonly userId: string;
  readonly claimNo: number;
  /** ISO 8601. */
  readonly claimedAt: string;
}

export function stockKey(couponId: string): string {
  return `coupon_stock:${couponId}`;
}

export function usersKey(couponId: string): string {
  return `claimed_user:${couponId}`;
}

/** With the keys that the service's own table has. */
export const TABLE = `
  CREATE TABLE usual_claim_log (
    coupon_id VARCHAR(64) NOT NULL,
    claim_no INT UNSIGNED NOT NULL,
    user_id VARCHAR(64) NOT NULL,
    claimed_at DATETIME(3) NOT NULL,
    PRIMARY KEY (coupon_id, claim_no),
    UNIQUE KEY (coupon_id, user_id)
  )`;
