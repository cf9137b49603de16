#!lua flags=no-writes
-- Tells whether a shard is open under an epoch, here and now.
--
-- KEYS[1] fence
-- ARGV[1] epoch
--
-- Answers 1 or 0.

-- @include fence

return fence_stands(KEYS[1], 'open', ARGV[1]) and 1 or 0
