-- What wrk asks in the part `generator`: claims of one coupon, each by a user of its own. Counts the answers by status and code, as the
-- benchmark's own generator does, and prints what it has found as one line of JSON in the end. One thread.
-- Its arguments: the start of every user id. Method, path and further headers are those of the command line.

local MARK = '@'
local thread
local before, after
local sent = 0

answers = {}

function setup(created)
  thread = created
end

function init(args)
  wrk.method = 'POST'
  -- Empty and not absent: it sends Content-Length, as other clients do.
  wrk.body = ''
  wrk.headers['X-User-Id'] = args[1] .. MARK
  before, after = wrk.format():match('^(.-)' .. MARK .. '(.*)$')
end

function request()
  sent = sent + 1
  return before .. sent .. after
end

function response(status, _, body)
  local code = body:match('"code":"([%w_]+)"') or body:match('"status":"([%w_]+)"') or 'unreadable'
  local answer = status .. ' ' .. code
  answers[answer] = (answers[answer] or 0) + 1
end

function done(summary, latency)
  local heard = {}
  for answer, count in pairs(thread:get('answers')) do
    table.insert(heard, ('"%s":%d'):format(answer, count))
  end
  local errors = summary.errors
  print(('{"answers":{%s},"unanswered":%d,"durationMicros":%d,"p50Micros":%d,"p99Micros":%d}'):format(
    table.concat(heard, ','),
    errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)
  ))
end
