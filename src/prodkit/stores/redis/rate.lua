-- rate_limit.lua for a key whose one limit is a rate, as most have: a quarter less work.
--
-- KEYS: what is kept of the key. ARGV: cost, patience in ns, "rate", interval and tolerance in ns.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local spent, most = ARGV[1] * ARGV[4], tonumber(ARGV[5])

local ahead, kept = 0, redis.call('GET', KEYS[1])
local word = kept and string.match(kept, '^%d+')
if word then
  ahead = math.max((string.sub(word, 1, -4) - now) * 1000 + string.sub(word, -3), 0)
end
local wait = math.max(math.ceil((ahead + spent - most) / 1000) * 1000, 0)
if wait > tonumber(ARGV[2]) then
  return { now + wait / 1000, wait, most + wait }
end

local at = now + wait / 1000
ahead = math.max(ahead - wait, 0) + spent
local whole_at = at + math.floor(ahead / 1000)
local arrival = string.format('%.0f%03.0f', whole_at, ahead % 1000)
redis.call('SET', KEYS[1], arrival, 'PX', math.ceil((whole_at - now + 1) / 1000))
return { at, wait, ahead }
