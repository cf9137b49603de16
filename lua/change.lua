#!lua
-- Applies one versioned change of a coupon, exactly once and only on top of the version before; version 1 creates it.
-- A repeat gets the first outcome again. The outcome goes to MySQL through the outbox.
--
-- KEYS[1] fence   KEYS[2] outbox   KEYS[3] coupon   KEYS[4] coupon_stock   KEYS[5] claimed_user
-- ARGV[1] epoch   ARGV[2] coupon id   ARGV[3] version   ARGV[4] change of stock (0: none)   ARGV[5] paused (0 | 1)
-- ARGV[6] opens_at (ms or '')   ARGV[7] closes_at (ms or '')   ARGV[8] acknowledgement level   ARGV[9] ceiling at creation
-- ARGV[10] returnable (0 | 1)
--
-- Answers { 0 or BELOW_CLAIMED, total, remaining } for the outcome of this version, or { code, current version } with
-- FENCED or VERSION_GAP: nothing was done.

-- @include codes
-- @include fence
-- @include damage
-- @include coupon
-- @include outbox

local fence_key, outbox_key, coupon_key, stock_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, coupon_id = ARGV[1], ARGV[2]
local version, delta, ceiling = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[9])
if not version or not delta or not ceiling or not ARGV[10] then return redis.error_reply('ERR change: an argument is missing') end

local open, clock = fence_stands(fence_key, 'open', epoch)
if not open then return { FENCED, 0 } end
local coupon, code = read_coupon(fence_key, coupon_id, coupon_key, stock_key, KEYS[5], 'whole')
if code == FENCED or outbox_is_lost(outbox_key) then
  fence_damaged(fence_key)
  return { FENCED, 0 }
end
if code == COUPON_CLOSED or code == ARCHIVED then return { FENCED, 0 } end
-- A coupon that is not there may begin only at its first version: anything later was forgotten, and is loaded, not begun.
if not coupon then
  coupon = {
    version = 0, total = 0, stock = 0, highest = 0, returned = 0, returning = 0, voids = 0, withheld = 0, ceiling = ceiling,
    outcome = 0,
  }
end
if coupon.version == version then return { coupon.outcome, coupon.total, coupon.stock } end
if coupon.version ~= version - 1 then return { VERSION_GAP, coupon.version } end

local now = shard_time(clock)
local outcome = (coupon.stock + delta < 0) and BELOW_CLAIMED or 0
if outcome == 0 then
  coupon.total, coupon.stock = coupon.total + delta, coupon.stock + delta
end

begin_writes(fence_key, now)
redis.call(
  'XADD', outbox_key, '*', 'kind', 'change', 'coupon', coupon_id, 'version', ARGV[3], 'outcome', outcome,
  'at', string.format('%.0f', now), 'epoch', epoch
)
redis.call(
  'HSET', coupon_key, 'version', ARGV[3], 'paused', ARGV[5], 'opens_at', ARGV[6], 'closes_at', ARGV[7], 'ack', ARGV[8],
  'total', string.format('%.0f', coupon.total), 'highest', string.format('%.0f', coupon.highest),
  'ceiling', string.format('%.0f', coupon.ceiling), 'outcome', outcome, 'returnable', ARGV[10],
  'returned', string.format('%.0f', coupon.returned), 'returning', string.format('%.0f', coupon.returning),
  'voids', string.format('%.0f', coupon.voids), 'withheld', string.format('%.0f', coupon.withheld)
)
redis.call('SET', stock_key, string.format('%.0f', coupon.stock))
redis.call('HSET', fence_key, 'coupon:' .. coupon_id, '1')
end_writes(fence_key)
return { outcome, coupon.total, coupon.stock }
