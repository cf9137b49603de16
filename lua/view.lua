#!lua flags=no-writes
-- Shows one coupon at one moment.
--
-- KEYS[1] fence   KEYS[2] coupon   KEYS[3] coupon_stock   KEYS[4] claimed_user
-- ARGV[1] epoch   ARGV[2] coupon id
--
-- Answers { FOUND, refusal (NOT_OPEN, PAUSED, ENDED, SOLD_OUT, WITHHELD, LEDGER_BEHIND or 0), total, remaining, highest,
-- ceiling, opens_at or -1, closes_at or -1, version, returned, returning, withheld, voids }, the same with ARCHIVED, or { code }
-- with UNKNOWN_COUPON, COUPON_CLOSED or FENCED.

-- @include codes
-- @include fence
-- @include coupon

local open, clock = fence_stands(KEYS[1], 'open', ARGV[1])
if not open then return { FENCED } end
local coupon, code, archived = read_coupon(KEYS[1], ARGV[2], KEYS[2], KEYS[3], KEYS[4], 'whole')
if archived then
  coupon = archived
  coupon.stock = coupon.total - (coupon.highest - coupon.voids - coupon.returned) - coupon.withheld
end
if not coupon then return { code } end
local refusal = refusal_of(coupon, shard_time(clock)) or (coupon.stock <= 0 and exhausted(coupon)) or 0
return {
  code or FOUND, refusal, coupon.total, coupon.stock, coupon.highest, coupon.ceiling,
  coupon.opens_at or -1, coupon.closes_at or -1, coupon.version, coupon.returned, coupon.returning, coupon.withheld,
  coupon.voids,
}
