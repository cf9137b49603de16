#!lua
-- Lowers the remaining stock of a coupon to what is left of its total, if it is more. Never raises it.
--
-- KEYS[1] fence   KEYS[2] coupon   KEYS[3] coupon_stock   KEYS[4] claimed_user
-- ARGV[1] epoch   ARGV[2] coupon id
--
-- Answers { by how much, remaining }, or { code } with UNKNOWN_COUPON, COUPON_CLOSED or FENCED.

-- @include codes
-- @include fence
-- @include damage
-- @include coupon

local open, clock = fence_stands(KEYS[1], 'open', ARGV[1])
if not open then return { FENCED } end
local coupon, code = read_coupon(KEYS[1], ARGV[2], KEYS[2], KEYS[3], KEYS[4], 'whole')
if code == FENCED then fence_damaged(KEYS[1]) end
if not coupon then return { code } end
local held = coupon.highest - coupon.voids - coupon.returned
local left = math.max(0, coupon.total - held - coupon.returning - coupon.withheld)
if coupon.stock <= left then return { 0, coupon.stock } end
begin_writes(KEYS[1], shard_time(clock))
redis.call('SET', KEYS[3], string.format('%.0f', left))
end_writes(KEYS[1])
return { coupon.stock - left, left }
