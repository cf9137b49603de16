#!lua
-- Finishes the loading of one coupon: definition and stock, if the receipts are all there.
--
-- KEYS[1] fence   KEYS[2] coupon   KEYS[3] coupon_stock   KEYS[4] claimed_user
-- ARGV[1] epoch   ARGV[2] token of the rebuild   ARGV[3] coupon id   ARGV[4] number of claims   ARGV[5] remaining stock
-- ARGV[6] version   ARGV[7] outcome of that version   ARGV[8] paused (0 | 1)   ARGV[9] opens_at (ms or '')
-- ARGV[10] closes_at (ms or '')   ARGV[11] acknowledgement level   ARGV[12] total   ARGV[13] ceiling
-- ARGV[14] returnable (0 | 1)   ARGV[15] number of claims that were returned
--
-- Answers 0, STALE, or COUNT_MISMATCH.

-- @include codes
-- @include fence
-- @include rebuild

if not rebuild_holds(KEYS[1], ARGV[1], ARGV[2]) then return STALE end
if redis.call('HLEN', KEYS[4]) ~= tonumber(ARGV[4]) then return COUNT_MISMATCH end
redis.call(
  'HSET', KEYS[2], 'version', ARGV[6], 'outcome', ARGV[7], 'paused', ARGV[8], 'opens_at', ARGV[9], 'closes_at', ARGV[10],
  'ack', ARGV[11], 'total', ARGV[12], 'highest', ARGV[4], 'ceiling', ARGV[13],
  'returnable', ARGV[14], 'returned', ARGV[15]
)
redis.call('SET', KEYS[3], ARGV[5])
redis.call('HSET', KEYS[1], 'coupon:' .. ARGV[3], '1')
return 0
