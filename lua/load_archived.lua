#!lua
-- Loads the definition of an archived coupon; its claims stay in MySQL.
--
-- KEYS[1] fence   KEYS[2] coupon   KEYS[3] coupon_stock   KEYS[4] claimed_user
-- ARGV[1] epoch   ARGV[2] token of the rebuild   ARGV[3] coupon id
-- ARGV[4] first name, then its value, and so on: the fields of the coupon's hash (include/coupon.lua)
--
-- Answers 0, or STALE.

-- @include codes
-- @include fence
-- @include rebuild

if not rebuild_holds(KEYS[1], ARGV[1], ARGV[2]) then return STALE end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[2], 'archived', '1', unpack(ARGV, 4))
redis.call('HSET', KEYS[1], 'coupon:' .. ARGV[3], '1')
return 0
