#!lua flags=no-writes
-- Tells how far the ledger is with the outbox of a shard.
--
-- KEYS[1] fence   KEYS[2] outbox
-- ARGV[1] epoch
--
-- Answers { 0, committed, newest } (include/outbox.lua), or { FENCED }.

-- @include codes
-- @include fence
-- @include outbox

if not fence_stands(KEYS[1], 'open', ARGV[1]) or outbox_is_lost(KEYS[2]) then return { FENCED } end
return { 0, outbox_ends(KEYS[2]) }
