-- Reads what decides about a claim and checks that the coupon's three keys agree. Needs codes and fence. `whole`: reads what only
-- other operations need, too; a claim does without, for a field costs 0.2 µs for each coupon of a batch.
-- Answers a table, or nil and UNKNOWN_COUPON, COUPON_CLOSED, FENCED (a key was lost) or ARCHIVED, which has the table third,
-- without stock: its claims are in MySQL alone.
local function read_coupon(fence_key, coupon_id, coupon_key, stock_key, claimed_key, whole)
  local fields = redis.call(
    'HMGET', coupon_key, 'version', 'paused', 'opens_at', 'closes_at', 'highest', 'ceiling', 'ack', 'returning', 'voids',
    'withheld', 'archived'
  )
  if not fields[1] then
    local loaded = redis.call('HGET', fence_key, 'coupon:' .. coupon_id)
    if loaded == '0' then return nil, COUPON_CLOSED end
    local lost = loaded or redis.call('EXISTS', stock_key, claimed_key) > 0
    return nil, lost and FENCED or UNKNOWN_COUPON
  end
  local coupon = {
    version = tonumber(fields[1]),
    paused = fields[2] == '1',
    opens_at = tonumber(fields[3]),
    closes_at = tonumber(fields[4]),
    highest = tonumber(fields[5]),
    ceiling = tonumber(fields[6]),
    ack = fields[7],
    -- Claims given back whose units come back to stock when MySQL has committed the return.
    returning = tonumber(fields[8]),
    -- Numbers up to the highest that nobody has, and those of them whose units are kept back.
    voids = tonumber(fields[9]),
    withheld = tonumber(fields[10]),
    stock = tonumber(redis.call('GET', stock_key)),
  }
  if not (coupon.version and coupon.highest and coupon.ceiling and coupon.ack)
    or not (coupon.returning and coupon.voids and coupon.withheld) then
    return nil, FENCED
  end
  if whole then
    local rest = redis.call('HMGET', coupon_key, 'total', 'outcome', 'returned', 'returnable')
    coupon.total, coupon.outcome = tonumber(rest[1]), tonumber(rest[2])
    -- All claims given back.
    coupon.returned, coupon.returnable = tonumber(rest[3]), rest[4] == '1'
    if not (coupon.total and coupon.outcome and coupon.returned and rest[4]) then return nil, FENCED end
  end
  if fields[11] then return nil, ARCHIVED, coupon end
  -- Every number handed out and not void belongs to one user: a hash with another count has lost or gained somebody.
  if not coupon.stock
    or redis.call('HLEN', claimed_key) ~= coupon.highest - coupon.voids then
    return nil, FENCED
  end
  return coupon
end

-- The refusal that state and window give to somebody new, or nil.
local function refusal_of(coupon, now)
  if coupon.closes_at and now >= coupon.closes_at then return ENDED end
  if coupon.paused then return PAUSED end
  if coupon.opens_at and now < coupon.opens_at then return NOT_OPEN end
  return nil
end

-- True when an edge of the window lies between two times of the shard's clock.
local function passes_edge(coupon, before, now)
  local opens_at, closes_at = coupon.opens_at, coupon.closes_at
  return (opens_at and before < opens_at and now >= opens_at) or (closes_at and before < closes_at and now >= closes_at)
end

-- The refusal to somebody new when nothing is left to hand out now: units that are kept back, or on their way back, are none
-- that are gone.
local function exhausted(coupon)
  if coupon.returning > 0 then return LEDGER_BEHIND end
  return coupon.withheld > 0 and WITHHELD or SOLD_OUT
end
