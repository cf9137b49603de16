#!lua flags=allow-oom
-- Makes an archived coupon of one that has ended: a small definition stays, stock and receipts go. Only when they are what
-- MySQL was found to hold.
--
-- KEYS[1] fence   KEYS[2] coupon   KEYS[3] coupon_stock   KEYS[4] claimed_user
-- ARGV[1] epoch   ARGV[2] coupon id   ARGV[3] version   ARGV[4] number of claims in MySQL   ARGV[5] of these returned
--
-- Answers 0 (also where that was done before), COUNT_MISMATCH, NOT_ENDED, or UNKNOWN_COUPON, COUPON_CLOSED or FENCED: nothing
-- was done. Runs also when Redis is full (allow-oom): it makes room.

-- @include codes
-- @include fence
-- @include damage
-- @include coupon

local open, clock = fence_stands(KEYS[1], 'open', ARGV[1])
if not open then return FENCED end
local coupon, code = read_coupon(KEYS[1], ARGV[2], KEYS[2], KEYS[3], KEYS[4], 'whole')
if code == FENCED then fence_damaged(KEYS[1]) end
if code == ARCHIVED then return 0 end
if not coupon then return code end
local now = shard_time(clock)
if not coupon.closes_at or now < coupon.closes_at then return NOT_ENDED end
if coupon.version ~= tonumber(ARGV[3]) or redis.call('HLEN', KEYS[4]) ~= tonumber(ARGV[4])
  or coupon.returned ~= tonumber(ARGV[5]) or coupon.returning ~= 0 then
  return COUNT_MISMATCH
end
begin_writes(KEYS[1], now)
redis.call('HSET', KEYS[2], 'archived', '1')
redis.call('UNLINK', KEYS[3], KEYS[4])
end_writes(KEYS[1])
return 0
