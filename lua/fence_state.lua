#!lua flags=no-writes
-- Tells whether a shard is open under an epoch, here and now, with its outbox.
--
-- KEYS[1] fence   KEYS[2] outbox
-- ARGV[1] epoch
--
-- Answers 1 or 0.

-- @include fence
-- @include outbox

return fence_stands(KEYS[1], 'open', ARGV[1]) and not outbox_is_lost(KEYS[2]) and 1 or 0
