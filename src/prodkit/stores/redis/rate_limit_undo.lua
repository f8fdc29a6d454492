-- Undo a take whose call gave up before its turn, as far as nobody stands behind it.
--
-- KEYS as in rate_limit.lua. ARGV: cost, the take's `at` in us, then for each limit: "rate", its
-- interval in ns and the take's `ahead` in ns, or "log" and two that do not count.

local cost, at = tonumber(ARGV[1]), tonumber(ARGV[2])
local words, lists = {}, 1
for word in string.gmatch(redis.call('GET', KEYS[1]) or '', '%S+') do
  words[#words + 1] = word
end

local function arrival(ahead)
  return string.format('%.0f%03.0f', at + math.floor(ahead / 1000), ahead % 1000)
end

for place = 1, (#ARGV - 2) / 3 do
  local kind, span, ahead = ARGV[place * 3], ARGV[place * 3 + 1], ARGV[place * 3 + 2]
  if kind == 'rate' then
    if words[place] == arrival(ahead) then
      words[place] = arrival(ahead - cost * span)
    end
  else
    lists = lists + 1
    local left = words[place] == 'log' and cost or 0
    while left > 0 and tonumber(redis.call('LINDEX', KEYS[lists], -1)) == at do
      redis.call('RPOP', KEYS[lists])
      left = left - 1
    end
  end
end
if #words > 0 then
  redis.call('SET', KEYS[1], table.concat(words, ' '), 'KEEPTTL')
end
return redis.status_reply('OK')
