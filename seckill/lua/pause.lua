#!lua flags=allow-oom
-- pause: hold an activity, or let it go on. While it is held every request is NOT_OPEN.
--
-- KEYS[1] set ids of the loaded activities   KEYS[2] hash state
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] journal row of this act, "0" for none   ARGV[6] "pause" or "resume"
--
-- Returns {version, paused before, 1 or 0}, or without any change {-1} not loaded | {-2, version}
-- it has moved.
-- Repeating it leaves the activity as it is and counts the version up. Runs on a full Redis too.

local activities_key, state_key = KEYS[1], KEYS[2]
local activity_id, channel, actor, expected, journal, cmd = unpack(ARGV, 1, 6)
local NOT_LOADED, MOVED = -1, -2

if redis.call('SISMEMBER', activities_key, activity_id) == 0 then
  return {NOT_LOADED}
end
local seen = redis.call('HGET', state_key, 'version') or '0'
if expected ~= '' and expected ~= seen then
  return {MOVED, tonumber(seen)}
end
local before = redis.call('HEXISTS', state_key, 'paused')
if cmd == 'pause' then
  redis.call('HSET', state_key, 'paused', '1')
else
  redis.call('HDEL', state_key, 'paused')
end
if journal ~= '0' then
  redis.call('HSET', state_key, 'journal', journal)
end
local version = redis.call('HINCRBY', state_key, 'version', 1)
redis.call('PUBLISH', channel, '{"cmd":"' .. cmd .. '","activity_id":' .. activity_id
  .. ',"actor":' .. cjson.encode(actor) .. ',"version":' .. version .. '}')
return {version, before}
