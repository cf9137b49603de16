// When a positive answer may be given: knows, for each acknowledgement level, whether a claim has reached it or how to wait
// for it. Every positive answer passes here: `claimed`, `already_claimed`, `claims/me` and `returned`.
//
//   redis    the script has run: reached.
//   fsync    Redis flushes to disk before it replies (platform/durability.ts asks it, again and again): reached while it does.
//   replica  the claim is sent once more on a line of its own, where WAIT follows each batch. The repeat changes nothing
//            but is a write after the claim, so what WAIT says of it holds for the claim, too; and for its return.
//   ledger   MySQL has the row, and for a return its mark.
import type { ClaimLine } from './claim-line.js';
import type { ClaimOutcome, Receipt, ReturnedReceipt } from './claim-service.js';
import type { LedgerWatch } from './ledger-watch.js';
import { fenceKey } from '../../coupons/keys.js';
import type { Shards } from '../../coupons/shards.js';
import type { RedisDurability } from '../../platform/durability.js';

export interface AcknowledgementOptions {
  readonly durability: RedisDurability;
  readonly shards: Pick<Shards, 'shardOf'>;
  readonly ledger: LedgerWatch;
  /** Undefined where no replicas are configured. */
  readonly replicaLine: ClaimLine | undefined;
  readonly timeLimitMs: number;
}

export class Acknowledgement {
  readonly #options: AcknowledgementOptions;

  constructor(options: AcknowledgementOptions) {
    this.#options = options;
  }

  /** Whether this claim, or its return, has reached its coupon's level; waits where waiting helps, up to the time limit. */
  reached(couponId: string, userId: string, receipt: Receipt | ReturnedReceipt): boolean | Promise<boolean> {
    const { durability, shards, ledger, replicaLine, timeLimitMs } = this.#options;
    switch (receipt.ack) {
      case 'redis':
        return true;
      case 'fsync':
        return durability.fsyncsBeforeReply(fenceKey(shards.shardOf(couponId)));
      case 'replica':
        return replicaLine === undefined ? false : confirmedBy(replicaLine, couponId, userId, receipt);
      case 'ledger':
        return ledger.whenCommitted(couponId, userId, receipt, Date.now() + timeLimitMs);
    }
  }
}

async function confirmedBy(
  line: ClaimLine,
  couponId: string,
  userId: string,
  receipt: Receipt | ReturnedReceipt,
): Promise<boolean> {
  const outcome = await new Promise<ClaimOutcome>((answer) => line.claim(couponId, userId, answer));
  if ('returnedAt' in receipt) return outcome.status === 'refused' && outcome.returnedAt === receipt.returnedAt;
  return outcome.status === 'already_claimed' && outcome.receipt.claimNo === receipt.claimNo;
}
