#!lua flags=allow-oom
-- Closes a shard under a new epoch, so that it can be rebuilt. What the outbox still holds stays.
--
-- KEYS[1] fence   KEYS[2] outbox
-- ARGV[1] new epoch   ARGV[2] token of the rebuild   ARGV[3] consumer group
--
-- Answers 0, or STALE: somebody has a newer epoch here.

-- @include codes
-- @include fence

local epoch = tonumber(ARGV[1])
if not epoch then return redis.error_reply('ERR rebuild_begin: the epoch is missing') end
local fence = redis.call('HMGET', KEYS[1], 'epoch', 'token', 'clock')
local known = tonumber(fence[1])
if known and (known > epoch or (known == epoch and fence[2] ~= ARGV[2])) then return STALE end

local run_id, replid = identity()
local now = shard_time(tonumber(fence[3]) or 0)
redis.call('UNLINK', KEYS[1])
redis.call(
  'HSET', KEYS[1], 'epoch', ARGV[1], 'token', ARGV[2], 'state', 'rebuilding', 'run_id', run_id, 'replid', replid,
  'clock', string.format('%.0f', now), 'torn', '0'
)
-- A group begins at 0, never at $: what is in the stream has not been read by it.
local group = redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[3], '0', 'MKSTREAM')
if group.err and not string.find(group.err, 'BUSYGROUP', 1, true) then return group end
return 0
