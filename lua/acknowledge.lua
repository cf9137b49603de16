#!lua flags=allow-oom
-- Takes entries that MySQL has committed out of the outbox, raises the ceilings that MySQL has raised, and gives the units of
-- committed returns back to stock, each once: with the removal of its entry.
--
-- KEYS[1] fence   KEYS[2] outbox   then for each coupon: coupon, coupon_stock
-- ARGV[1] epoch   ARGV[2] state that the shard must be in (open | rebuilding)   ARGV[3] consumer group
-- ARGV[4] number of entry ids n   n entry ids, none of a return of these coupons
-- then for each coupon: ceiling (0: none)   number of returns r   r entry ids
--
-- Answers the number of entries removed, or FENCED: nothing was done.
--
-- Runs also when Redis is full (allow-oom), as do the scripts that a rebuild needs to come here: it makes room. All others that
-- write are then refused before they begin, so none of them stops half way for want of memory.

-- @include codes
-- @include fence
-- @include outbox

-- Everything is read and checked before the first write.
local count = tonumber(ARGV[4])
local coupons = {}
local arg = count and 5 + count or 0
for key = 3, #KEYS, 2 do
  local ceiling, returns = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  if not ceiling or not returns then return redis.error_reply('ERR acknowledge: arguments do not fit') end
  coupons[#coupons + 1] = { coupon_key = KEYS[key], stock_key = KEYS[key + 1], ceiling = ceiling, first = arg + 2, last = arg + 1 + returns }
  arg = arg + 2 + returns
end
if arg ~= #ARGV + 1 or #KEYS % 2 ~= 0 then return redis.error_reply('ERR acknowledge: arguments do not fit') end
local stands, clock = fence_stands(KEYS[1], ARGV[2], ARGV[1])
if not stands or outbox_is_lost(KEYS[2]) then return FENCED end

begin_writes(KEYS[1], shard_time(clock))
-- XACK without XDEL would leave an entry that nobody is given again. In chunks: unpack fails near 8,000, and one entry a
-- call costs Redis twice as much.
local CHUNK = 1000
local function remove(first_id, last_id)
  local removed = 0
  for first = first_id, last_id, CHUNK do
    local last = math.min(first + CHUNK - 1, last_id)
    redis.call('XACK', KEYS[2], ARGV[3], unpack(ARGV, first, last))
    removed = removed + redis.call('XDEL', KEYS[2], unpack(ARGV, first, last))
  end
  return removed
end

local removed = remove(5, 4 + count)
for _, coupon in ipairs(coupons) do
  local returned = remove(coupon.first, coupon.last)
  removed = removed + returned
  local ceiling = tonumber(redis.call('HGET', coupon.coupon_key, 'ceiling'))
  if ceiling and coupon.ceiling > ceiling then
    redis.call('HSET', coupon.coupon_key, 'ceiling', string.format('%.0f', coupon.ceiling))
  end
  -- Never more than are on their way: a return that was a dead letter may come twice, and a rebuild may have counted it.
  if returned > 0 then
    returned = math.min(returned, tonumber(redis.call('HGET', coupon.coupon_key, 'returning')) or 0)
  end
  if returned > 0 then
    redis.call('HINCRBY', coupon.coupon_key, 'returning', -returned)
    redis.call('INCRBY', coupon.stock_key, returned)
  end
end
end_writes(KEYS[1])
return removed
