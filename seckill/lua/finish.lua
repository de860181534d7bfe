#!lua flags=allow-oom
-- finish: end an activity, whatever is left. Every request decided after this is OVER.
--
-- KEYS[1] set ids of the loaded activities   KEYS[2] hash state
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor
--
-- Returns {version, over before or ""}, or {-1} when the activity is not loaded.
-- Repeating it leaves the activity finished and counts the version up. Runs on a full Redis too.

local activities_key, state_key = KEYS[1], KEYS[2]
local activity_id, channel, actor = ARGV[1], ARGV[2], ARGV[3]

if redis.call('SISMEMBER', activities_key, activity_id) == 0 then
  return {-1}
end
local before = redis.call('HGET', state_key, 'over') or ''
local clock = redis.call('TIME')
redis.call('HSET', state_key, 'over', 'finished',
  'over_at', clock[1] .. string.format('%03d', math.floor(tonumber(clock[2]) / 1000)))
local version = redis.call('HINCRBY', state_key, 'version', 1)
redis.call('PUBLISH', channel, '{"cmd":"finish_activity","activity_id":' .. activity_id
  .. ',"actor":' .. cjson.encode(actor) .. ',"version":' .. version .. '}')
return {version, before}
