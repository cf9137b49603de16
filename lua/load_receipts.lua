#!lua
-- Loads a chunk of receipts of one coupon.
--
-- KEYS[1] fence   KEYS[2] claimed_user
-- ARGV[1] epoch   ARGV[2] token of the rebuild   then pairs of user id and receipt (at most 1,000 pairs)
--
-- Answers 0, or STALE.

-- @include codes
-- @include fence
-- @include rebuild

if not rebuild_holds(KEYS[1], ARGV[1], ARGV[2]) then return STALE end
redis.call('HSET', KEYS[2], unpack(ARGV, 3))
return 0
