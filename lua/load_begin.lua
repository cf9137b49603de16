#!lua flags=allow-oom
-- Empties the keys of one coupon, so that it can be loaded from MySQL.
--
-- KEYS[1] fence   KEYS[2] coupon   KEYS[3] coupon_stock   KEYS[4] claimed_user
-- ARGV[1] epoch   ARGV[2] token of the rebuild
--
-- Answers 0, or STALE.

-- @include codes
-- @include fence
-- @include rebuild

if not rebuild_holds(KEYS[1], ARGV[1], ARGV[2]) then return STALE end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
return 0
