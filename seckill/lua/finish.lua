#!lua flags=allow-oom
-- finish: end an activity, whatever is left. Every request decided after this is OVER.
--
-- KEYS[1] set ids of the loaded activities   KEYS[2] hash state
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] journal row of this act, "0" for none
--
-- Returns {version, over before or ""}, or without any change {-1} not loaded | {-2, version} it
-- has moved.
-- Repeating it leaves the activity finished and counts the version up. Runs on a full Redis too.

local activities_key, state_key = KEYS[1], KEYS[2]
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
local clock = redis.call('TIME')
redis.call('HSET', state_key, 'over', 'finished',
  'over_at', clock[1] .. string.format('%03d', math.floor(tonumber(clock[2]) / 1000)))
if journal ~= '0' then
  redis.call('HSET', state_key, 'journal', journal)
end
local version = redis.call('HINCRBY', state_key, 'version', 1)
redis.call('PUBLISH', channel, '{"cmd":"finish_activity","activity_id":' .. activity_id
  .. ',"actor":' .. cjson.encode(actor) .. ',"version":' .. version .. '}')
return {version, before}
