// The two kinds of id and their one byte form. Everything behind the door trusts these checks.
const COUPON_ID = /^[A-Za-z0-9_-]{1,64}$/;
export const USER_ID_BYTES_MAX = 64;
// C0, DEL and C1: they would break logs, headers and terminals. Control characters are the very point of this pattern.
// eslint-disable-next-line no-control-regex
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/;

export function isCouponId(value: string): boolean {
  return COUPON_ID.test(value);
}

/** True for 1 to 64 bytes of UTF-8 without control characters. A lone surrogate has no UTF-8 form and is refused. */
export function isUserId(value: string): boolean {
  return (
    value.length > 0 &&
    value.length <= USER_ID_BYTES_MAX &&
    !CONTROL_CHARACTER.test(value) &&
    isWellFormed(value) &&
    Buffer.byteLength(value, 'utf8') <= USER_ID_BYTES_MAX
  );
}

const LONE_SURROGATE = /\p{Surrogate}/u;
function isWellFormed(value: string): boolean {
  return !LONE_SURROGATE.test(value);
}
