#!lua
-- load_state: prepare the state of an activity that is not registered, and so not decided, yet.
--
-- KEYS[1] hash state   KEYS[2] hash stats   KEYS[3] hash buyers   KEYS[4] hash lane stats
-- KEYS[5] set ids of the loaded activities   KEYS[6] hash new buyers, as stage_hash wrote them
-- KEYS[7] hash lane   KEYS[8] hash clicks   KEYS[9] hash new clicks, as stage_hash wrote them
-- ARGV[1] accepted requests   ARGV[2] units   ARGV[3] records: what PostgreSQL and the list hold
--         already, from before Redis lost this activity; 0 for a new one
-- ARGV[4] the last known version of this activity; 0 for a new one
-- ARGV[5] activity id   ARGV[6] token of the new buyers, "" if there is no limit per user
-- ARGV[7] token of the new clicks, "" to begin without any
-- ARGV[8...] field, value... of the state
--
-- A version is never reused: versions continue after the last known one.
-- The counters start with what records prove, as a baseline. The positions start without these
-- requests, so they are subtracted from `skipped`; then the sums agree.
-- Returns the version, or -1 without any change if this call came too late: the activity is
-- registered by now and its sale runs; or somebody else has recounted its buyers since and is
-- loading it; or the lane was fenced meanwhile.
-- Safe to repeat: the counters are set once, and buyers are taken over once.

-- include numbers
-- include rights
-- include staged
local state_key, stats_key, buyers_key, lane_stats_key = unpack(KEYS, 1, 4)
local activities_key, new_buyers_key, lane_key, clicks_key, new_clicks_key = unpack(KEYS, 5, 9)
local accepted, last_version, activity_id, token = tonumber(ARGV[1]), ARGV[4], ARGV[5], ARGV[6]
local clicks_token = ARGV[7]
local ACCEPTED, FIRST_PAIR, LATE = '1', 8, -1
local counters = {[ACCEPTED] = ARGV[1], units = ARGV[2], records = ARGV[3]}

if redis.call('SISMEMBER', activities_key, activity_id) == 1
    or redis.call('HEXISTS', lane_key, 'fenced') == 1 then
  return LATE
end
if (token ~= '' and not is_staged(new_buyers_key, token))
    or (clicks_token ~= '' and not is_staged(new_clicks_key, clicks_token)) then
  return LATE
end
for _, key in ipairs({state_key, stats_key, lane_stats_key, new_buyers_key, new_clicks_key}) do
  local missing = missing_right('HSET', key, 'f', 'v')
  if missing then return missing end
end
local missing = missing_right('UNLINK', buyers_key)
  or missing_right('RENAME', new_buyers_key, buyers_key)
  or missing_right('RENAME', new_clicks_key, clicks_key)
if missing then return missing end
local skipped = tonumber(redis.call('HGET', lane_stats_key, 'skipped') or 0)

if redis.call('EXISTS', stats_key) == 0 then
  for field, count in pairs(counters) do
    redis.call('HSET', stats_key, field, count, 'base:' .. field, count)
  end
  if accepted > 0 then
    redis.call('HSET', lane_stats_key, 'skipped', whole(skipped - accepted))
  end
end
redis.call('UNLINK', buyers_key)
if token ~= '' then
  take_in_buyers(new_buyers_key, buyers_key, {})
end
if clicks_token ~= '' then
  take_in(new_clicks_key, clicks_key)
  redis.call('HSET', state_key, 'clicks', '1')
end
for i = FIRST_PAIR, #ARGV, 2 do
  redis.call('HSET', state_key, ARGV[i], ARGV[i + 1])
end
local version = tonumber(redis.call('HGET', state_key, 'version') or 0)
if version < tonumber(last_version) then
  version = tonumber(last_version)
end
redis.call('HSET', state_key, 'version', whole(version))
return version
