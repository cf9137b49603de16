#!lua
-- Puts an entry into the outbox that MySQL should have and does not: a dead letter, or a row that is missing.
--
-- KEYS[1] fence   KEYS[2] outbox
-- ARGV[1] epoch   ARGV[2] first name, then its value, and so on: the fields of the entry
--
-- Answers the id of the entry, or FENCED: nothing was done.

-- @include codes
-- @include fence

if #ARGV < 3 or #ARGV % 2 == 0 then return redis.error_reply('ERR requeue: fields are missing') end
if not fence_stands(KEYS[1], 'open', ARGV[1]) then return FENCED end
return redis.call('XADD', KEYS[2], '*', unpack(ARGV, 2))
