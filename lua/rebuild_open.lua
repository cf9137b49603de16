#!lua
-- Opens a rebuilt shard.
--
-- KEYS[1] fence   KEYS[2] outbox
-- ARGV[1] epoch   ARGV[2] token of the rebuild   ARGV[3] number of coupons loaded   ARGV[4] latest time in MySQL (ms)
--
-- Answers 0, STALE, or COUNT_MISMATCH.

-- @include codes
-- @include fence
-- @include rebuild

local latest = tonumber(ARGV[4])
if not latest then return redis.error_reply('ERR rebuild_open: the time is missing') end
if not rebuild_holds(KEYS[1], ARGV[1], ARGV[2]) then return STALE end
-- The fence has seven fields of its own.
if redis.call('HLEN', KEYS[1]) - 7 ~= tonumber(ARGV[3]) then return COUNT_MISMATCH end
-- An entry is left: what was gathered was the outbox of another Redis.
if redis.call('XLEN', KEYS[2]) ~= 0 then return COUNT_MISMATCH end
local now = shard_time(math.max(latest, tonumber(redis.call('HGET', KEYS[1], 'clock'))))
redis.call('HSET', KEYS[1], 'state', 'open', 'clock', string.format('%.0f', now))
return 0
