-- A step of a lock: its token, for as long as it is held, and the last token that was given out.
--
-- KEYS: the lock, the last token. ARGV: the step, lease in ms, then the token of who holds it, or
-- how long to remember the last token, in ms.
-- Tokens are this server's time in us, and more than the last one: so they increase also after
-- everything here was forgotten, and also while the clock goes back.

local lock, last = KEYS[1], KEYS[2]
local step, lease = ARGV[1], ARGV[2]

if step == 'acquire' then
  if redis.call('EXISTS', lock) == 1 then
    return false
  end
  local time = redis.call('TIME')
  local before = tonumber(redis.call('GET', last) or 0)
  local token = math.max(time[1] * 1000000 + time[2], before + 1)
  local text = string.format('%.0f', token)
  redis.call('SET', lock, text, 'PX', lease)
  redis.call('SET', last, text, 'PX', ARGV[3])
  return token
end
if redis.call('GET', lock) ~= ARGV[3] then
  return 0
end
if step == 'renew' then
  return redis.call('PEXPIRE', lock, lease)
end
return redis.call('DEL', lock)
