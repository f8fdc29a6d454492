-- A step of an idempotency key: a hash of print (whose request), fence (who holds it), until (when
-- the lease ends, us of this server) and, once answered, result. It goes when its retention ends.
--
-- KEYS: the key. ARGV: the step, the fence, then for all but `release` lease and retention in ms,
-- then the fingerprint for `claim`, or the result for `complete`.

local key, step, fence = KEYS[1], ARGV[1], ARGV[2]
local kept = redis.call('HMGET', key, 'print', 'fence', 'until', 'result')
local whose, held_by, lease_end, result = unpack(kept)

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

if step == 'claim' then
  local now = clock()
  if whose and (result or tonumber(lease_end) > now or whose ~= ARGV[5]) then
    return { whose, result }
  end
  redis.call('DEL', key)
  local lease = string.format('%.0f', now + ARGV[3] * 1000)
  redis.call('HSET', key, 'print', ARGV[5], 'fence', fence, 'until', lease)
  redis.call('PEXPIRE', key, ARGV[4])
  return false
end

if held_by ~= fence or result then
  return 0
end
if step == 'release' then
  redis.call('DEL', key)
elseif step == 'extend' then
  redis.call('HSET', key, 'until', string.format('%.0f', clock() + ARGV[3] * 1000))
  redis.call('PEXPIRE', key, ARGV[4])
else
  redis.call('HSET', key, 'result', ARGV[5])
  redis.call('PEXPIRE', key, ARGV[4])
end
return 1
