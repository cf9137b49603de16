#!lua
-- Takes entries that MySQL has committed out of the outbox, and raises the ceilings that MySQL has raised.
--
-- KEYS[1] fence   KEYS[2] outbox   then one coupon key for each ceiling
-- ARGV[1] epoch   ARGV[2] state that the shard must be in (open | rebuilding)   ARGV[3] consumer group
-- ARGV[4] number of entry ids n   n entry ids   then one ceiling for each coupon key
--
-- Answers the number of entries removed, or FENCED: nothing was done.

-- @include codes
-- @include fence

local count = tonumber(ARGV[4])
if not count or #ARGV - 4 - count ~= #KEYS - 2 then return redis.error_reply('ERR acknowledge: arguments do not fit') end
if not fence_stands(KEYS[1], ARGV[2], ARGV[1]) then return FENCED end

-- XACK without XDEL would leave an entry that nobody is given again. In chunks: unpack fails near 8,000, and one entry a
-- call costs Redis twice as much (docs/benchmark.md).
local CHUNK = 1000
local removed = 0
for first = 5, 4 + count, CHUNK do
  local last = math.min(first + CHUNK - 1, 4 + count)
  redis.call('XACK', KEYS[2], ARGV[3], unpack(ARGV, first, last))
  removed = removed + redis.call('XDEL', KEYS[2], unpack(ARGV, first, last))
end
for k = 3, #KEYS do
  local ceiling = tonumber(redis.call('HGET', KEYS[k], 'ceiling'))
  local raised = tonumber(ARGV[4 + count + k - 2])
  if ceiling and raised and raised > ceiling then
    redis.call('HSET', KEYS[k], 'ceiling', string.format('%.0f', raised))
  end
end
return removed
