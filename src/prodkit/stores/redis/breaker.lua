-- A step of a fleet's circuit: a hash of state, generation, retry_at (us of this server),
-- last_break, measured, threshold, passed, and a field `lease <ticket>` for each probe that is out,
-- with the time at which its permit comes back. Unknown is closed, of generation "".
--
-- KEYS: the circuit. ARGV: the step, how many probes, lease and break in us, the break in seconds
-- as it was written, how long to remember in ms; then what the step needs.
-- Answers {state, generation, permit, us until asking makes sense, last_break, measured, threshold}.

local key, step = KEYS[1], ARGV[1]
local probes, lease, pause = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local length, memory = ARGV[5], tonumber(ARGV[6])
local word, outcome = ARGV[7], ARGV[8]

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local circuit = { state = 'closed', generation = '', last_break = '0', measured = '0' }
circuit.threshold, circuit.passed, circuit.retry_at = '0', 0, 0
local leases, changed = {}, false
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  local name, value = fields[i], fields[i + 1]
  if string.sub(name, 1, 6) ~= 'lease ' then
    circuit[name] = value
  elseif tonumber(value) > now then
    leases[string.sub(name, 7)] = tonumber(value)
  end
end
circuit.passed, circuit.retry_at = tonumber(circuit.passed), tonumber(circuit.retry_at)

local function enter(state)
  circuit.state, circuit.passed, leases, changed = state, 0, {}, true
end

local function close(generation)
  enter('closed')
  circuit.generation = generation
  circuit.last_break, circuit.measured, circuit.threshold = '0', '0', '0'
end

local function open()
  enter('open')
  circuit.retry_at, circuit.last_break = now + pause, length
end

local function out()
  local count, first = 0, nil
  for _, ends in pairs(leases) do
    count, first = count + 1, math.min(first or ends, ends)
  end
  return count, first
end

local permit = 0
if step == 'admit' then
  if circuit.state == 'open' and circuit.retry_at <= now then
    enter('half_open')
  end
  if circuit.state == 'half_open' then
    if circuit.passed >= probes then
      close(word)
    elseif out() + circuit.passed < probes then
      leases[word], permit, changed = now + lease, 1, true
    end
  end
elseif step == 'trip' then
  if circuit.state == 'closed' and circuit.generation == word then
    open()
    circuit.measured, circuit.threshold = ARGV[8], ARGV[9]
  end
elseif step == 'settle' then
  if leases[word] then
    leases[word], changed = nil, true
    if outcome == 'failed' then
      open()
    elseif outcome == 'passed' then
      circuit.passed = circuit.passed + 1
      if circuit.passed >= probes then
        close(word)
      end
    end
  end
elseif step == 'isolate' then
  enter('isolated')
else
  close(word)
end

if changed then
  redis.call('DEL', key)
  circuit.retry_at = string.format('%.0f', circuit.retry_at)
  for name, value in pairs(circuit) do
    redis.call('HSET', key, name, value)
  end
  for ticket, ends in pairs(leases) do
    redis.call('HSET', key, 'lease ' .. ticket, string.format('%.0f', ends))
  end
  if circuit.state ~= 'isolated' then
    redis.call('PEXPIRE', key, string.format('%.0f', memory + (pause + lease) / 1000))
  end
end

local wait, count, first = 0, out()
if circuit.state == 'open' then
  wait = math.max(circuit.retry_at - now, 0)
elseif circuit.state == 'half_open' and count + circuit.passed >= probes then
  wait = (first or now) - now
end

return {
  circuit.state, circuit.generation, permit, wait,
  circuit.last_break, circuit.measured, circuit.threshold,
}
