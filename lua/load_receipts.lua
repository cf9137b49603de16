#!lua
-- Loads a chunk of receipts of one coupon.
--
-- KEYS[1] fence   KEYS[2] claimed_user
-- ARGV[1] epoch   ARGV[2] token of the rebuild
-- ARGV[3] first user id, then its claim number, claimed at, returned at (ms, or ''), and so on (at most 1,000 users)
--
-- Answers 0, or STALE.

-- @include codes
-- @include fence
-- @include receipt
-- @include rebuild

if not rebuild_holds(KEYS[1], ARGV[1], ARGV[2]) then return STALE end
local receipts = {}
for i = 3, #ARGV, 4 do
  receipts[#receipts + 1] = ARGV[i]
  receipts[#receipts + 1] = pack_receipt(ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]))
end
redis.call('HSET', KEYS[2], unpack(receipts))
return 0
