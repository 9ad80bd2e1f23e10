-- The script that wrk runs. It sends the requests of a file in turn, one per line: a method, a path and perhaps a body.
-- A line may begin with "as", a tab, an authorization and a tab; the request is then sent with that authorization.
--
--     wrk ... -s load.lua URL -- AUTHORIZATION FILE
--
-- It prints the results as one line of JSON; latencies and the duration are in microseconds.

local requests, next = {}, 0

function init(args)
  local headers = { Authorization = args[1] }
  local with_body = { Authorization = args[1], ["Content-Type"] = "application/json" }
  for line in io.lines(args[2]) do
    local own, rest = line:match("^as\t([^\t]+)\t(.*)$")
    local plain = own and { Authorization = own } or headers
    local method, path, body = (rest or line):match("^(%S+) (%S+) ?(.*)$")
    requests[#requests + 1] =
      wrk.format(method, path, body == "" and plain or with_body, body ~= "" and body or nil)
  end
end

function request()
  next = next % #requests + 1
  return requests[next]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "duration": %d, "p50": %d, "p99": %d, "failed": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout + errors.status
  ))
end
