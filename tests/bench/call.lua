-- One POST over and over, every time with an id of its own, with the sessions taken in turn.
-- Arguments: body (with "id":1000000), first id, headers ("Name: value"), ",", session ids.
-- Prints one line: requests, seconds, answers that are not 2xx, socket errors, p50 and p99 in microseconds.

local before, after, turn, id = {}, {}, 0, 0

local function add()
  local whole = wrk.format()
  local from, to = whole:find('"id":1000000', 1, true)
  before[#before + 1] = whole:sub(1, from + 4)
  after[#after + 1] = whole:sub(to + 1)
end

function init(args)
  wrk.method, wrk.body, id = "POST", args[1], tonumber(args[2])
  local index = 3
  while args[index] and args[index] ~= "," do
    local name, value = args[index]:match("^(.-): (.*)$")
    wrk.headers[name] = value
    index = index + 1
  end
  if index >= #args then add() end
  for at = index + 1, #args do
    wrk.headers["mcp-session-id"] = args[at]
    add()
  end
end

function request()
  turn = turn % #before + 1
  id = id + 1
  return before[turn] .. id .. after[turn]
end

function done(summary, latency)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("FIGURES %d %.6f %d %d %d %d\n", summary.requests, summary.duration / 1e6,
    errors.status, broken, latency:percentile(50), latency:percentile(99)))
end
