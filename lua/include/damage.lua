-- Fences the shard from inside: keys of a coupon are missing or do not agree with each other. The ledger sees the state
-- and rebuilds.
local function fence_damaged(fence_key)
  redis.call('HSET', fence_key, 'state', 'damaged')
end
