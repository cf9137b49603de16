-- The outbox of a shard always exists: it was made when the shard was opened, and an empty stream stays. One that is gone took
-- entries with it.
local function outbox_is_lost(outbox_key)
  return redis.call('EXISTS', outbox_key) == 0
end

-- How far the ledger is. First: entries with a lower id than this are committed in MySQL, for none leaves the outbox before.
-- Second: the id of the last entry in the outbox, or '' when it is empty.
local function outbox_ends(outbox_key)
  local first = redis.call('XRANGE', outbox_key, '-', '+', 'COUNT', 1)[1]
  if first then
    return first[1], redis.call('XREVRANGE', outbox_key, '+', '-', 'COUNT', 1)[1][1]
  end
  local info = redis.call('XINFO', 'STREAM', outbox_key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      local ms, number = string.match(info[i + 1], '^(%d+)-(%d+)$')
      return string.format('%s-%.0f', ms, tonumber(number) + 1), ''
    end
  end
end
