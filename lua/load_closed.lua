#!lua flags=allow-oom
-- Leaves one coupon out of a shard that is being rebuilt: it is known, and it is closed.
--
-- KEYS[1] fence   KEYS[2] coupon   KEYS[3] coupon_stock   KEYS[4] claimed_user
-- ARGV[1] epoch   ARGV[2] token of the rebuild   ARGV[3] coupon id
--
-- Answers 0, or STALE.

-- @include codes
-- @include fence
-- @include rebuild

if not rebuild_holds(KEYS[1], ARGV[1], ARGV[2]) then return STALE end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'coupon:' .. ARGV[3], '0')
return 0
