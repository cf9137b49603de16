#!lua
-- Looks whether the keys of a coupon agree and the outbox is there, and fences the shard if they do not. For readers, whose scripts may not write.
--
-- KEYS[1] fence   KEYS[2] coupon   KEYS[3] coupon_stock   KEYS[4] claimed_user   KEYS[5] outbox
-- ARGV[1] epoch   ARGV[2] coupon id
--
-- Answers 0, or FENCED.

-- @include codes
-- @include fence
-- @include damage
-- @include coupon
-- @include outbox

if not fence_stands(KEYS[1], 'open', ARGV[1]) then return FENCED end
local _, code = read_coupon(KEYS[1], ARGV[2], KEYS[2], KEYS[3], KEYS[4], 'whole')
if code ~= FENCED and not outbox_is_lost(KEYS[5]) then return 0 end
fence_damaged(KEYS[1])
return FENCED
