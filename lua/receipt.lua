#!lua flags=no-writes
-- Looks up the receipt of one user.
--
-- KEYS[1] fence   KEYS[2] coupon   KEYS[3] coupon_stock   KEYS[4] claimed_user   KEYS[5] outbox
-- ARGV[1] epoch   ARGV[2] coupon id   ARGV[3] user id
--
-- Answers { code, claim number, claimed at (ms), acknowledgement level, committed, newest } (include/outbox.lua) with code
-- FOUND, or RETURNED with the time of the return in place of that of the claim, or { code } with NOT_CLAIMED, UNKNOWN_COUPON,
-- COUPON_CLOSED, ARCHIVED or FENCED.

-- @include codes
-- @include fence
-- @include coupon
-- @include receipt
-- @include outbox

if not fence_stands(KEYS[1], 'open', ARGV[1]) or outbox_is_lost(KEYS[5]) then return { FENCED } end
local coupon, code = read_coupon(KEYS[1], ARGV[2], KEYS[2], KEYS[3], KEYS[4])
if not coupon then return { code } end
local receipt = redis.call('HGET', KEYS[4], ARGV[3])
if not receipt then return { NOT_CLAIMED } end
local no, at, returned_at = read_receipt(receipt)
if not no then return { FENCED } end
if returned_at then return { RETURNED, no, returned_at, coupon.ack } end
return { FOUND, no, at, coupon.ack, outbox_ends(KEYS[5]) }
