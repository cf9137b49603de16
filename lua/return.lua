#!lua
-- Takes one claim back: the receipt is marked and the return is on its way to MySQL, in one step and exactly once. The unit
-- comes back to stock when MySQL has committed the return (acknowledge.lua): if Redis forgot the return before that, somebody
-- else would hold the unit already. A repeat gets the first answer again. The number is never handed out again, nor the user
-- forgotten.
--
-- KEYS[1] fence   KEYS[2] outbox   KEYS[3] coupon   KEYS[4] coupon_stock   KEYS[5] claimed_user
-- ARGV[1] epoch   ARGV[2] coupon id   ARGV[3] user id
--
-- Answers { FOUND, claim number, claimed at (ms), returned at (ms), acknowledgement level, committed, newest }
-- (include/outbox.lua), or { code } with NOT_CLAIMED, NOT_RETURNABLE, UNKNOWN_COUPON, COUPON_CLOSED, ARCHIVED or FENCED:
-- nothing was done.

-- @include codes
-- @include fence
-- @include damage
-- @include coupon
-- @include receipt
-- @include outbox

local fence_key, epoch, coupon_id, user = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if not user then return redis.error_reply('ERR return: an argument is missing') end

local open, clock = fence_stands(fence_key, 'open', epoch)
if not open then return { FENCED } end
local coupon, code = read_coupon(fence_key, coupon_id, KEYS[3], KEYS[4], KEYS[5], 'whole')
if code == FENCED or outbox_is_lost(KEYS[2]) then
  fence_damaged(fence_key)
  return { FENCED }
end
if not coupon then return { code } end
if not coupon.returnable then return { NOT_RETURNABLE } end
local receipt = redis.call('HGET', KEYS[5], user)
if not receipt then return { NOT_CLAIMED } end
local no, at, returned_at = read_receipt(receipt)
if not no then
  fence_damaged(fence_key)
  return { FENCED }
end

local now = shard_time(clock)
-- A repeat writes, too: WAIT speaks of the latest write of its connection.
begin_writes(fence_key, now)
if not returned_at then
  returned_at = now
  local now_text, no_text = string.format('%.0f', now), string.format('%.0f', no)
  redis.call(
    'XADD', KEYS[2], '*',
    'kind', 'return', 'coupon', coupon_id, 'no', no_text, 'user', user, 'at', now_text, 'epoch', epoch
  )
  redis.call('HSET', KEYS[5], user, pack_receipt(no, at, now))
  redis.call('HINCRBY', KEYS[3], 'returned', 1)
  redis.call('HINCRBY', KEYS[3], 'returning', 1)
end
end_writes(fence_key)
return { FOUND, no, at, returned_at, coupon.ack, outbox_ends(KEYS[2]) }
