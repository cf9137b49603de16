#!lua
-- Finishes the loading of one coupon: definition and stock, if the receipts are all there.
--
-- KEYS[1] fence   KEYS[2] coupon   KEYS[3] coupon_stock   KEYS[4] claimed_user
-- ARGV[1] epoch   ARGV[2] token of the rebuild   ARGV[3] coupon id   ARGV[4] number of claims   ARGV[5] remaining stock
-- then pairs of name and value: all fields of the coupon's hash (include/coupon.lua)
--
-- Answers 0, STALE, or COUNT_MISMATCH.

-- @include codes
-- @include fence
-- @include rebuild

if not rebuild_holds(KEYS[1], ARGV[1], ARGV[2]) then return STALE end
local fields = {}
for i = 6, #ARGV, 2 do fields[ARGV[i]] = ARGV[i + 1] end
local claims = tonumber(ARGV[4])
if redis.call('HLEN', KEYS[4]) ~= claims or tonumber(fields.highest) - tonumber(fields.voids) ~= claims then
  return COUNT_MISMATCH
end
redis.call('HSET', KEYS[2], unpack(ARGV, 6))
redis.call('SET', KEYS[3], ARGV[5])
redis.call('HSET', KEYS[1], 'coupon:' .. ARGV[3], '1')
return 0
