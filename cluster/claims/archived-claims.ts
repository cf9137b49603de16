// Claims of archived coupons, whose receipts are in MySQL alone: what a user who asks late is told. Reads only.
import type { ClaimOutcome, ReturnOutcome } from './claim-service.js';
import type { Ack } from '../../coupons/definition.js';
import type { Log } from '../../platform/log.js';
import type { Pool, RowDataPacket } from '../../platform/mysql.js';

/** Questions under way at once in one process; whoever asks one more may try again. */
const ASKING_MAX = 256;

interface ArchivedClaim {
  readonly claimNo: number;
  readonly claimedAt: number;
  readonly returnedAt: number | undefined;
  readonly ack: Ack;
}

export class ArchivedClaims {
  readonly #mysql: Pool;
  readonly #log: Log;
  #asking = 0;

  /** `mysql`: with a time limit for each statement. */
  constructor(mysql: Pool, log: Log) {
    this.#mysql = mysql;
    this.#log = log;
  }

  /** The receipt again; `otherwise` to those who have none. Never rejects. */
  async receipt(couponId: string, userId: string, otherwise: 'ended' | 'not_claimed'): Promise<ClaimOutcome> {
    const claim = await this.#find(couponId, userId);
    if (typeof claim === 'string') return { status: 'refused', code: claim };
    if (claim === undefined) return { status: 'refused', code: otherwise };
    const { returnedAt, ...receipt } = claim;
    if (returnedAt !== undefined) return { status: 'refused', code: 'returned', returnedAt };
    return { status: 'already_claimed', receipt };
  }

  /** The first answer again to those who have returned their claim; nobody else can any more. Never rejects. */
  async returned(couponId: string, userId: string): Promise<ReturnOutcome> {
    const claim = await this.#find(couponId, userId);
    if (typeof claim === 'string') return { status: 'refused', code: claim };
    if (claim === undefined) return { status: 'refused', code: 'not_claimed' };
    const { returnedAt } = claim;
    if (returnedAt === undefined) return { status: 'refused', code: 'archived' };
    return { status: 'returned', receipt: { ...claim, returnedAt } };
  }

  async #find(couponId: string, userId: string): Promise<ArchivedClaim | undefined | 'overloaded' | 'unavailable'> {
    if (this.#asking >= ASKING_MAX) return 'overloaded';
    this.#asking++;
    try {
      const [rows] = await this.#mysql.query<RowDataPacket[]>(
        `SELECT claim_no, claimed_at, returned_at, ack FROM coupon_claim_log JOIN coupon USING (coupon_id)
          WHERE coupon_id = ? AND user_id = ?`,
        [couponId, Buffer.from(userId)],
      );
      const [row] = rows;
      return (
        row && {
          claimNo: Number(row['claim_no']),
          claimedAt: (row['claimed_at'] as Date).getTime(),
          returnedAt: (row['returned_at'] as Date | null)?.getTime(),
          ack: row['ack'] as Ack,
        }
      );
    } catch (error) {
      this.#log.debug({ err: error, couponId }, 'MySQL could not tell of an archived claim');
      return 'unavailable';
    } finally {
      this.#asking--;
    }
  }
}
