// The codes of lua/include/codes.lua for TypeScript, and the one table that turns refusals into error codes.
import type { ErrorCode } from '../platform/errors.js';

export const CODE = {
  CLAIMED: 1,
  ALREADY_CLAIMED: 2,
  FOUND: 3,
  SOLD_OUT: -1,
  NOT_OPEN: -2,
  PAUSED: -3,
  ENDED: -4,
  LEDGER_BEHIND: -5,
  UNKNOWN_COUPON: -6,
  NOT_CLAIMED: -7,
  COUPON_CLOSED: -8,
  RETURNED: -9,
  FENCED: -10,
  STALE: -11,
  VERSION_GAP: -12,
  BELOW_CLAIMED: -13,
  COUNT_MISMATCH: -14,
  NOT_RETURNABLE: -15,
  ARCHIVED: -16,
  NOT_ENDED: -17,
  WITHHELD: -18,
} as const;

const ERROR_OF_CODE: Readonly<Record<number, ErrorCode>> = {
  [CODE.SOLD_OUT]: 'sold_out',
  [CODE.NOT_OPEN]: 'not_open',
  [CODE.PAUSED]: 'paused',
  [CODE.ENDED]: 'ended',
  [CODE.LEDGER_BEHIND]: 'ledger_behind',
  [CODE.UNKNOWN_COUPON]: 'unknown_coupon',
  [CODE.NOT_CLAIMED]: 'not_claimed',
  [CODE.COUPON_CLOSED]: 'fenced',
  [CODE.RETURNED]: 'returned',
  [CODE.FENCED]: 'fenced',
  [CODE.VERSION_GAP]: 'change_pending',
  [CODE.BELOW_CLAIMED]: 'below_claimed',
  [CODE.NOT_RETURNABLE]: 'not_returnable',
  [CODE.ARCHIVED]: 'archived',
  [CODE.WITHHELD]: 'fenced',
};

/** The error code of a negative script code. A code that no refusal uses is a defect: `internal`. */
export function errorOfCode(code: number): ErrorCode {
  return ERROR_OF_CODE[code] ?? 'internal';
}
