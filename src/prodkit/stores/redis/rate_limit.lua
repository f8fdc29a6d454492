-- Count `cost` in all limits of a key if all admit it within `patience`, stamped by this server.
--
-- KEYS: what is kept of the key, then a list for each limit that is a log, in their order.
-- ARGV: cost, patience in ns, then for each limit: "rate", interval and tolerance in ns,
--       or "log", window in us and quota.
-- KEYS[1] holds a word for each limit: a rate's theoretical arrival time in Unix ns, or "log".
-- Unix ns exceed what a Lua number can hold exactly (2^53), Unix us do not: so times are us, and
-- only spans are ns. Answers {at in us, wait in ns, then for each limit its ahead in ns, or of a
-- log {how many count, us until the oldest of them leaves}}.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, patience = tonumber(ARGV[1]), tonumber(ARGV[2])

local kept = {}
for word in string.gmatch(redis.call('GET', KEYS[1]) or '', '%S+') do
  kept[#kept + 1] = word
end

local function stamp(list, place)
  return tonumber(redis.call('LINDEX', list, place))
end

-- Drop what left the window; seldom more than one, so look at few first.
local function trim(list, window)
  local few = 2
  repeat
    local oldest, gone = redis.call('LRANGE', list, 0, few - 1), 0
    while oldest[gone + 1] and oldest[gone + 1] + window <= now do
      gone = gone + 1
    end
    if gone > 0 then
      redis.call('LTRIM', list, gone, -1)
    end
    local more = gone == few
    few = few * 8
  until not more
end

local limits, lists, longest = {}, 1, 0
for place = 1, (#ARGV - 2) / 3 do
  local at = place * 3
  local limit = { kind = ARGV[at], span = tonumber(ARGV[at + 1]), most = tonumber(ARGV[at + 2]) }
  local word = kept[place]
  if limit.kind == 'rate' then
    limit.ahead = 0
    if word and word ~= 'log' then
      limit.ahead = (string.sub(word, 1, -4) - now) * 1000 + string.sub(word, -3)
      if limit.ahead < 0 then
        limit.ahead = 0
      end
    end
    limit.wait = limit.ahead + cost * limit.span - limit.most
  else
    lists = lists + 1
    limit.list = KEYS[lists]
    if word == 'log' then
      trim(limit.list, limit.span)
    else
      redis.call('DEL', limit.list)
    end
    limit.count = redis.call('LLEN', limit.list)
    local over, free = limit.count + cost - limit.most, now
    if over > 0 then
      free = stamp(limit.list, over - 1) + limit.span
    end
    if limit.count > 0 then
      -- Those who wait their turn have stamps ahead of time; nobody passes them.
      free = math.max(free, stamp(limit.list, -1))
    end
    limit.wait = (free - now) * 1000
  end
  limit.wait = limit.wait > 0 and math.ceil(limit.wait / 1000) * 1000 or 0
  if limit.wait > longest then
    longest = limit.wait
  end
  limits[place] = limit
end

local at = now + longest / 1000
local answer = { at, longest }

local function used(limit, now_or_at)
  local counted = math.min(limit.count, limit.most)
  if counted == 0 then
    return { 0, 0 }
  end
  local oldest = stamp(limit.list, limit.count - counted)
  return { counted, math.max(oldest + limit.span - now_or_at, 0) }
end

if longest > patience then
  for place, limit in ipairs(limits) do
    if limit.kind == 'rate' then
      answer[place + 2] = limit.wait > 0 and limit.most + limit.wait or limit.ahead
    elseif limit.wait > 0 then
      answer[place + 2] = { limit.most, limit.span + limit.wait / 1000 }
    else
      answer[place + 2] = used(limit, now)
    end
  end
  return answer
end

local words, whole = {}, 0
for place, limit in ipairs(limits) do
  local whole_at
  if limit.kind == 'rate' then
    local ahead = math.max(limit.ahead - longest, 0) + cost * limit.span
    answer[place + 2] = ahead
    whole_at = at + math.floor(ahead / 1000)
    words[place] = string.format('%.0f%03.0f', whole_at, ahead % 1000)
  else
    local text, left = string.format('%.0f', at), cost
    while left > 0 do
      local stamps = {}
      for i = 1, math.min(left, 1000) do
        stamps[i] = text
      end
      redis.call('RPUSH', limit.list, unpack(stamps))
      left = left - #stamps
    end
    limit.count = limit.count + cost
    answer[place + 2] = used(limit, at)
    whole_at = at + limit.span
    words[place] = 'log'
    redis.call('PEXPIRE', limit.list, math.ceil((whole_at - now) / 1000))
  end
  whole = math.max(whole, whole_at - now)
end
redis.call('SET', KEYS[1], table.concat(words, ' '), 'PX', math.ceil((whole + 1) / 1000))
return answer
