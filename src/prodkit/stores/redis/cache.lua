-- A step of a cached value and of the lease to load it.
--
-- KEYS: the value, the lease. ARGV: the step; then what it needs.

local value, lease = KEYS[1], KEYS[2]
local step, holder, ttl = ARGV[1], ARGV[2], ARGV[3]

if step == 'get' then
  local found = redis.call('GET', value)
  return found and { found, redis.call('PTTL', value) }
end
if step == 'acquire' then
  if redis.call('EXISTS', value) == 1 then
    return false
  end
  return redis.call('SET', lease, holder, 'NX', 'PX', ttl)
end
if holder ~= '' and redis.call('GET', lease) ~= holder then
  return false
end
redis.call('DEL', lease)
if step == 'set' then
  redis.call('SET', value, ARGV[4], 'PX', ttl)
elseif step == 'delete' then
  redis.call('DEL', value)
end
return redis.status_reply('OK')
