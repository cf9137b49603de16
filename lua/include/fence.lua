-- The guard of a shard. Fence hash: epoch, token, state (rebuilding | open | damaged), run_id, replid (the Redis process
-- and history it was opened on), clock (last time that binds, ms), torn (1 between the first and the last write of a script),
-- coupon:<id> (1 for each coupon that was loaded or created, 0 for one that is kept closed).

-- Who this Redis is. A restart changes run_id, a failover or a copied data file changes one of the two.
local function identity()
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  return run_id, replid
end

-- True when the shard is in this state under this epoch, on the Redis that it was opened on, and no script died half way.
-- The second value is the last time seen.
local function fence_stands(fence_key, state, epoch)
  local fence = redis.call('HMGET', fence_key, 'epoch', 'state', 'run_id', 'replid', 'clock', 'torn')
  if fence[1] ~= epoch or fence[2] ~= state or fence[6] == '1' then return false end
  local run_id, replid = identity()
  if fence[3] ~= run_id or fence[4] ~= replid then return false end
  local clock = tonumber(fence[5])
  return clock ~= nil, clock
end

-- Milliseconds by the shard's clock, which never runs backwards.
local function shard_time(clock)
  local time = redis.call('TIME')
  return math.max(time[1] * 1000 + math.floor(time[2] / 1000), clock)
end

-- Every script that writes more than one key writes between these two: an error half way leaves `torn` behind, and the
-- shard stays fenced until it is rebuilt.
local function begin_writes(fence_key, now)
  redis.call('HSET', fence_key, 'torn', '1', 'clock', string.format('%.0f', now))
end
local function end_writes(fence_key)
  redis.call('HSET', fence_key, 'torn', '0')
end
