-- True while this rebuild, and no other, holds the shard.
local function rebuild_holds(fence_key, epoch, token)
  return fence_stands(fence_key, 'rebuilding', epoch) and redis.call('HGET', fence_key, 'token') == token
end
