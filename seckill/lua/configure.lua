#!lua
-- configure: change fields of a loaded activity's state: window, limit per user, timeout.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash state   KEYS[3] hash buyers
-- KEYS[4] hash positions   KEYS[5] hash new buyers, as stage_buyers wrote them
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] journal row of this act, "0" for none   ARGV[6] "1": forget the buyers
-- ARGV[7] token of new buyers, whose units come to those that are counted; "" for none
-- ARGV[8...] field, value, field, value... of the state; "" removes the field
--
-- Returns {version, positions as field, value...}, or without any change {-1} not loaded |
-- {-2, version} it has moved, or somebody else has counted the buyers since.
-- Safe to repeat; each call counts the version up.

local activities_key, state_key, buyers_key, positions_key, new_buyers_key = unpack(KEYS)
local activity_id, channel, actor, expected, journal, forget_buyers, token = unpack(ARGV, 1, 7)
local NOT_LOADED, MOVED = -1, -2
local TOKEN, FIRST_PAIR = '', 8

if redis.call('SISMEMBER', activities_key, activity_id) == 0 then
  return {NOT_LOADED}
end
local seen = redis.call('HGET', state_key, 'version') or '0'
if expected ~= '' and expected ~= seen then
  return {MOVED, tonumber(seen)}
end
if token ~= '' and redis.call('HGET', new_buyers_key, TOKEN) ~= token then
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
if token ~= '' then
  redis.call('HDEL', new_buyers_key, TOKEN)
  -- Those who bought while it was counted are the few.
  local since = redis.call('HGETALL', buyers_key)
  for i = 1, #since, 2 do
    redis.call('HINCRBY', new_buyers_key, since[i], since[i + 1])
  end
  if redis.call('EXISTS', new_buyers_key) == 1 then
    redis.call('RENAME', new_buyers_key, buyers_key)
  end
end
if journal ~= '0' then
  redis.call('HSET', state_key, 'journal', journal)
end
local version = redis.call('HINCRBY', state_key, 'version', 1)
redis.call('PUBLISH', channel, '{"cmd":"configure","activity_id":' .. activity_id
  .. ',"state":' .. cjson.encode(changed)
  .. ',"actor":' .. cjson.encode(actor) .. ',"version":' .. version .. '}')
return {version, unpack(redis.call('HGETALL', positions_key))}
