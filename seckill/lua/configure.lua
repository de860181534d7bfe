#!lua
-- configure: change fields of a loaded activity's state: window, limit per user, timeout.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash state   KEYS[3] hash buyers
-- KEYS[4] hash positions
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] journal row of this act, "0" for none   ARGV[6] "1": forget the buyers
-- ARGV[7...] field, value, field, value... of the state; "" removes the field
--
-- Returns {version, positions as field, value...}, or without any change {-1} not loaded |
-- {-2, version} it has moved.
-- Safe to repeat; each call counts the version up.

local activities_key, state_key, buyers_key, positions_key = unpack(KEYS)
local activity_id, channel, actor, expected, journal, forget_buyers = unpack(ARGV, 1, 6)
local NOT_LOADED, MOVED = -1, -2
local FIRST_PAIR = 7

if redis.call('SISMEMBER', activities_key, activity_id) == 0 then
  return {NOT_LOADED}
end
local seen = redis.call('HGET', state_key, 'version') or '0'
if expected ~= '' and expected ~= seen then
  return {MOVED, tonumber(seen)}
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
if journal ~= '0' then
  redis.call('HSET', state_key, 'journal', journal)
end
local version = redis.call('HINCRBY', state_key, 'version', 1)
redis.call('PUBLISH', channel, '{"cmd":"configure","activity_id":' .. activity_id
  .. ',"state":' .. cjson.encode(changed)
  .. ',"actor":' .. cjson.encode(actor) .. ',"version":' .. version .. '}')
return {version, unpack(redis.call('HGETALL', positions_key))}
