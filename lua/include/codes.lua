-- Codes that scripts answer with. lua/codes.ts holds the same table; a test compares the two.
local CLAIMED = 1
local ALREADY_CLAIMED = 2
local FOUND = 3
local SOLD_OUT = -1
local NOT_OPEN = -2
local PAUSED = -3
local ENDED = -4
local LEDGER_BEHIND = -5
local UNKNOWN_COUPON = -6
local NOT_CLAIMED = -7
local COUPON_CLOSED = -8
local FENCED = -10
local STALE = -11
local VERSION_GAP = -12
local BELOW_CLAIMED = -13
local COUNT_MISMATCH = -14
