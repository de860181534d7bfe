#!lua
-- configure: change fields of a loaded activity's state: window, limit per user, timeout.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash state   KEYS[3] hash buyers
-- KEYS[4] hash positions
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] "1": forget the buyers
-- ARGV[5...] field, value, field, value... of the state; "" removes the field
--
-- Returns {version, positions as field, value...}, or {-1} when the activity is not loaded.
-- Safe to repeat; each call counts the version up.

local activities_key, state_key, buyers_key, positions_key = unpack(KEYS)
local activity_id, channel, actor, forget_buyers = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local FIRST_PAIR = 5

if redis.call('SISMEMBER', activities_key, activity_id) == 0 then
  return {-1}
end
local changed = {}
for i = FIRST_PAIR, #ARGV, 2 do
  changed[ARGV[i]] = ARGV[i + 1]
  if ARGV[i + 1] == '' then
    redis.call('HDEL', state_key, ARGV[i])
  else
    redis.call('HSET', state_key, ARGV[i], ARGV[i + 1])
  end
end
if forget_buyers == '1' then
  redis.call('UNLINK', buyers_key)
end
local version = redis.call('HINCRBY', state_key, 'version', 1)
redis.call('PUBLISH', channel, '{"cmd":"configure","activity_id":' .. activity_id
  .. ',"state":' .. cjson.encode(changed)
  .. ',"actor":' .. cjson.encode(actor) .. ',"version":' .. version .. '}')
return {version, unpack(redis.call('HGETALL', positions_key))}
