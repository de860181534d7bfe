#!lua flags=allow-oom
-- reopen: take back that an activity was finished. Where no unit is left it is sold out.
--
-- KEYS[1] set ids of the loaded activities   KEYS[2] hash state   KEYS[3] hash stock
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] journal row of this act, "0" for none
--
-- Returns {version, over before or "", over now or ""}, or without any change {-1} not loaded |
-- {-2, version} it has moved.
-- Repeating it leaves the activity open and counts the version up. Runs on a full Redis too.

local activities_key, state_key, stock_key = unpack(KEYS)
local activity_id, channel, actor, expected, journal = unpack(ARGV, 1, 5)
local NOT_LOADED, MOVED = -1, -2

if redis.call('SISMEMBER', activities_key, activity_id) == 0 then
  return {NOT_LOADED}
end
local seen = redis.call('HGET', state_key, 'version') or '0'
if expected ~= '' and expected ~= seen then
  return {MOVED, tonumber(seen)}
end
local before = redis.call('HGET', state_key, 'over') or ''
local total, now = 0, ''
for _, units in ipairs(redis.call('HVALS', stock_key)) do
  total = total + tonumber(units)
end
if total > 0 then
  redis.call('HDEL', state_key, 'over', 'over_at')
else
  now = 'sold_out'
  redis.call('HSET', state_key, 'over', now)
end
if journal ~= '0' then
  redis.call('HSET', state_key, 'journal', journal)
end
local version = redis.call('HINCRBY', state_key, 'version', 1)
redis.call('PUBLISH', channel, '{"cmd":"reopen","activity_id":' .. activity_id
  .. ',"actor":' .. cjson.encode(actor) .. ',"version":' .. version .. '}')
return {version, before, now}
