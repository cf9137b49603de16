// Receipts as Redis keeps them, the values of claimed_user: lua/include/receipt.lua writes them, and says what they are made of.
// Reads only.
import type { ClaimRow } from './coupons.js';
import type { Redis } from '../platform/redis.js';

export type StoredReceipt = Pick<ClaimRow, 'claimNo' | 'claimedAt' | 'returnedAt'>;

/** Without and with the time of a return. */
const LENGTHS = [12, 20];
/** What older versions wrote. */
const TEXT = /^(\d+):(\d+)(?::(\d+))?$/;

/** Undefined when it is none. */
export function parseReceipt(value: Buffer): StoredReceipt | undefined {
  if (value[0] !== 0) {
    const [, no, at, returnedAt] = TEXT.exec(value.toString('latin1')) ?? [];
    if (no === undefined) return undefined;
    return {
      claimNo: Number(no),
      claimedAt: Number(at),
      returnedAt: returnedAt === undefined ? null : Number(returnedAt),
    };
  }
  if (!LENGTHS.includes(value.length)) return undefined;
  const time = (offset: number): number => Number(value.readBigUInt64BE(offset));
  return { claimNo: value.readUInt32BE(8), claimedAt: time(0), returnedAt: value.length > 12 ? time(12) : null };
}

/** Of these users, in their order: null where there is none, undefined where it cannot be read. */
export async function readReceipts(
  redis: Redis,
  claimedUserKey: string,
  users: readonly { readonly userId: string }[],
): Promise<(StoredReceipt | null | undefined)[]> {
  const values = await redis.hmgetBuffer(claimedUserKey, ...users.map(({ userId }) => userId));
  return values.map((value) => value && parseReceipt(value));
}

/** True when Redis and MySQL say the same of a claim, whatever they know of its return. */
export function isSameClaim(receipt: StoredReceipt | null | undefined, row: StoredReceipt): boolean {
  return receipt?.claimNo === row.claimNo && receipt.claimedAt === row.claimedAt;
}

/** True when they say the same of its return, too. */
export function isSameReceipt(receipt: StoredReceipt | null | undefined, row: StoredReceipt): boolean {
  return isSameClaim(receipt, row) && receipt?.returnedAt === row.returnedAt;
}
