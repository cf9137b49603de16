-- Claims of one outbox entry at most: it stays small for whoever reads entries by the number, or keeps one as a dead letter.
local CLAIMS_PER_ENTRY = 100

-- Puts what one script call grants into the outbox: groups of { id (the coupon), first (the first number), users (who got that
-- number and the following ones, in order) }. As few entries as may be, for an entry costs as much as the claims in it:
--   kind grants, at (ms), epoch   then for each coupon: coupon <id>, numbers <first>-<last>, users (ids, one a line)
-- A user id has no control characters (coupons/ids.ts), so none has a line break.
local function queue_grants(outbox_key, epoch, now_text, groups)
  local entry, room = nil, 0
  local function add()
    if entry then redis.call('XADD', outbox_key, '*', unpack(entry)) end
  end
  for _, group in ipairs(groups) do
    local from = 1
    while from <= #group.users do
      if room == 0 then
        add()
        entry, room = { 'kind', 'grants', 'at', now_text, 'epoch', epoch }, CLAIMS_PER_ENTRY
      end
      local to = math.min(from + room - 1, #group.users)
      local n = #entry
      entry[n + 1], entry[n + 2], entry[n + 3] = 'coupon', group.id, 'numbers'
      entry[n + 4] = string.format('%.0f-%.0f', group.first + from - 1, group.first + to - 1)
      entry[n + 5], entry[n + 6] = 'users', table.concat(group.users, '\n', from, to)
      from, room = to + 1, room - (to - from + 1)
    end
  end
  add()
end
