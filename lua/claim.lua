#!lua
-- Decides a whole batch of claims in one atomic step: receipts, counters and outbox entries are written together or the
-- shard is fenced.
--
-- KEYS[1] fence   KEYS[2] outbox   then for each coupon: coupon, coupon_stock, claimed_user
-- ARGV[1] epoch   then for each coupon, in the order of the keys: coupon id, number of users n (1 to 1000), n user ids
--
-- Answers { code, now, acks, results, committed, newest }, without the last two where nothing was written:
--   code     0, or FENCED: nothing was done, the rest is missing
--   now      ms by the shard's clock
--   acks     for each coupon { acknowledgement level or '', opens_at or 0 }
--   results  for each user, in order, three integers: code, claim number, claimed at (ms); the latter two 0 for refusals,
--            but RETURNED, which has the claim number and the time of the return
--   committed, newest  how far the ledger is (include/outbox.lua)
--
-- The order of the questions is the contract: fence, then membership (whoever has a claim gets the receipt again,
-- whatever the state, and whoever has returned it never gets another), then state and window, then ceiling, then stock.
--
-- Refusals bind nothing, so a call that makes no others writes nothing: what it says may be otherwise a moment later, or after
-- a loss. Two things bind, and make it write. A receipt that is given, for the first time or again, or taken as returned: WAIT
-- speaks of the latest write of its connection. And the edge of a window that was passed since the clock was last written: were
-- the clock set back later, who was told `ended` would see others succeed.

-- @include codes
-- @include fence
-- @include damage
-- @include coupon
-- @include receipt
-- @include outbox
-- @include grants

local fence_key, outbox_key, epoch = KEYS[1], KEYS[2], ARGV[1]

-- Everything is read and checked before the first write.
local groups = {}
local arg, key = 2, 3
while arg <= #ARGV do
  local count = tonumber(ARGV[arg + 1])
  if not count or count < 1 or count > 1000 or arg + 1 + count > #ARGV or key + 2 > #KEYS then
    return redis.error_reply('ERR claim: arguments do not fit the keys')
  end
  groups[#groups + 1] = {
    id = ARGV[arg], first = arg + 2, last = arg + 1 + count,
    coupon_key = KEYS[key], stock_key = KEYS[key + 1], claimed_key = KEYS[key + 2],
  }
  arg, key = arg + 2 + count, key + 3
end
if #groups == 0 or key ~= #KEYS + 1 then
  return redis.error_reply('ERR claim: arguments do not fit the keys')
end

local open, clock = fence_stands(fence_key, 'open', epoch)
if not open then return { FENCED } end
if outbox_is_lost(outbox_key) then
  fence_damaged(fence_key)
  return { FENCED }
end
local now = shard_time(clock)

for _, group in ipairs(groups) do
  group.coupon, group.code = read_coupon(fence_key, group.id, group.coupon_key, group.stock_key, group.claimed_key)
  if group.code == FENCED then
    fence_damaged(fence_key)
    return { FENCED }
  end
  if group.coupon then
    group.receipts = redis.call('HMGET', group.claimed_key, unpack(ARGV, group.first, group.last))
    for i, receipt in ipairs(group.receipts) do
      if receipt then
        local no, at, returned_at = read_receipt(receipt)
        if not no then
          fence_damaged(fence_key)
          return { FENCED }
        end
        group.receipts[i] = { returned_at and RETURNED or ALREADY_CLAIMED, no, returned_at or at }
      end
    end
  end
end

local writing = false
local acks, results, granting = {}, {}, {}
local now_text = string.format('%.0f', now)

local function answer(code, no, at)
  local n = #results
  results[n + 1], results[n + 2], results[n + 3] = code, no, at
end

for i, group in ipairs(groups) do
  local coupon = group.coupon
  acks[i] = coupon and { coupon.ack, coupon.opens_at or 0 } or { '', 0 }
  local refusal = coupon and refusal_of(coupon, now)
  if coupon and passes_edge(coupon, clock, now) then writing = true end
  local granted, users, new_receipts = {}, {}, {}

  for a = group.first, group.last do
    local user = ARGV[a]
    local receipt = coupon and group.receipts[a - group.first + 1]
    if not coupon then
      answer(group.code, 0, 0)
    elseif receipt then
      writing = true
      answer(receipt[1], receipt[2], receipt[3])
    elseif granted[user] then
      -- The same user twice in one batch.
      answer(ALREADY_CLAIMED, granted[user], now)
    elseif refusal then
      answer(refusal, 0, 0)
    elseif coupon.highest >= coupon.ceiling then
      answer(LEDGER_BEHIND, 0, 0)
    elseif coupon.stock <= 0 then
      answer(exhausted(coupon), 0, 0)
    else
      writing = true
      coupon.highest, coupon.stock = coupon.highest + 1, coupon.stock - 1
      granted[user] = coupon.highest
      users[#users + 1] = user
      new_receipts[#new_receipts + 1] = user
      new_receipts[#new_receipts + 1] = pack_receipt(coupon.highest, now)
      answer(CLAIMED, coupon.highest, now)
    end
  end

  if #users > 0 then
    granting[#granting + 1] = {
      id = group.id, first = coupon.highest - #users + 1, users = users, receipts = new_receipts,
      coupon_key = group.coupon_key, stock_key = group.stock_key, claimed_key = group.claimed_key,
    }
  end
end

if not writing then return { 0, now, acks, results } end

-- What is decided is on its way to the ledger before anybody has it.
begin_writes(fence_key, now)
queue_grants(outbox_key, epoch, now_text, granting)
for _, grant in ipairs(granting) do
  redis.call('HSET', grant.claimed_key, unpack(grant.receipts))
  redis.call('HSET', grant.coupon_key, 'highest', string.format('%.0f', grant.first + #grant.users - 1))
  redis.call('DECRBY', grant.stock_key, #grant.users)
end
end_writes(fence_key)
return { 0, now, acks, results, outbox_ends(outbox_key) }
