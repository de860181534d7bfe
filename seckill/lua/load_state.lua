#!lua
-- load_state: prepare the state of an activity that is not registered yet; nobody decides it now.
--
-- KEYS[1] hash state   KEYS[2] hash stats   KEYS[3] hash buyers   KEYS[4] hash lane stats
-- KEYS[5] set ids of the loaded activities   KEYS[6] hash new buyers, as stage_buyers wrote them
-- ARGV[1] accepted requests   ARGV[2] units   ARGV[3] records: those that stand in PostgreSQL and in
--         the list already, from before Redis lost this activity; 0 for a new one
-- ARGV[4] the last version that is known of this activity; 0 for a new one
-- ARGV[5] activity id   ARGV[6] token of the new buyers, "" where there is no limit per user
-- ARGV[7...] field, value... of the state
--
-- Versions go on where they were, so that one that an operator has seen never comes again.
-- The counters begin with what is proved by records, as a baseline. The positions begin without
-- these requests, so they are taken from `skipped`, and the sums hold.
-- Returns the version, or without any change -1: this call comes late. The activity is registered by
-- now, and its sale runs; or somebody else has counted its buyers since, and loads it.
-- Safe to repeat: the counters are begun once, and buyers are taken in once.

local state_key, stats_key, buyers_key, lane_stats_key, activities_key, new_buyers_key = unpack(KEYS)
local token = ARGV[6]
local TOKEN, ACCEPTED, FIRST_PAIR, LATE = '', '1', 7, -1
local counters = {[ACCEPTED] = ARGV[1], units = ARGV[2], records = ARGV[3]}

if redis.call('SISMEMBER', activities_key, ARGV[5]) == 1 then
  return LATE
end
if token ~= '' and redis.call('HGET', new_buyers_key, TOKEN) ~= token then
  return LATE
end
if redis.call('EXISTS', stats_key) == 0 then
  for field, count in pairs(counters) do
    redis.call('HSET', stats_key, field, count, 'base:' .. field, count)
  end
  redis.call('HINCRBY', lane_stats_key, 'skipped', -tonumber(ARGV[1]))
end
redis.call('UNLINK', buyers_key)
if token ~= '' then
  redis.call('HDEL', new_buyers_key, TOKEN)
  if redis.call('EXISTS', new_buyers_key) == 1 then
    redis.call('RENAME', new_buyers_key, buyers_key)
  end
end
for i = FIRST_PAIR, #ARGV, 2 do
  redis.call('HSET', state_key, ARGV[i], ARGV[i + 1])
end
local version = tonumber(redis.call('HGET', state_key, 'version') or 0)
if version < tonumber(ARGV[4]) or version == 0 then
  version = tonumber(ARGV[4])
  redis.call('HSET', state_key, 'version', ARGV[4])
end
return version
