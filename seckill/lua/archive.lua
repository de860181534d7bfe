#!lua
-- archive: take finished activities out of a lane. PostgreSQL has them as archived already.
--
-- KEYS[1] set activities   KEYS[2] hash lane stats   KEYS[3] hash lane
-- KEYS[4...] ten for each activity: hashes state, stock, loaded, stats, buyers, new buyers, clicks,
--            new clicks, held; sorted set due
-- ARGV[1] number of outcomes, n   ARGV[2...n+1] their fields in stats   then the id of each activity
--
-- Their outcomes are added to `archived` of the lane's stats, so that all outcomes still add up to the
-- positions. An id that is not loaded is passed over: safe to repeat.
-- Returns how many were taken out, or without any change: {-1, why} the lane is fenced; {-2, id} that
-- activity is not finished or has holds; {-3} no other activity would be left.

-- include numbers
-- include rights
local activities_key, lane_stats_key, lane_key = unpack(KEYS, 1, 3)
local outcomes = tonumber(ARGV[1])
local FIRST_KEY, KEYS_AN_ACTIVITY, FIRST_ID = 4, 10, outcomes + 2
local STATE, STATS, LAST = 0, 3, 9

local fenced = redis.call('HMGET', lane_key, 'fenced', 'fenced_why')
if fenced[1] then
  return {-1, fenced[1] .. ': ' .. (fenced[2] or '')}
end
local missing = missing_right('DEL', activities_key) or missing_right('SADD', activities_key, '1')
  or missing_right('HSET', lane_stats_key, 'f', 'v')
if missing then return missing end
local gone, counted, keys = {}, 0, {}
for place = FIRST_ID, #ARGV do
  local id, first = ARGV[place], FIRST_KEY + (place - FIRST_ID) * KEYS_AN_ACTIVITY
  if redis.call('SISMEMBER', activities_key, id) == 1 then
    local held = tonumber(redis.call('HGET', KEYS[first + STATS], 'held') or '0')
    if redis.call('HGET', KEYS[first + STATE], 'over') ~= 'finished' or held ~= 0 then
      return {-2, id}
    end
    gone[id] = true
    for field = 2, outcomes + 1 do
      counted = counted + tonumber(redis.call('HGET', KEYS[first + STATS], ARGV[field]) or '0')
    end
    for key = first, first + LAST do
      missing = missing_right('UNLINK', KEYS[key])
      if missing then return missing end
      keys[#keys + 1] = KEYS[key]
    end
  end
end
local left = {}
for _, id in ipairs(redis.call('SMEMBERS', activities_key)) do
  if not gone[id] then left[#left + 1] = id end
end
if #keys == 0 then return {0} end
if #left == 0 then return {-3} end

for _, key in ipairs(keys) do redis.call('UNLINK', key) end
-- Not SREM, which earlier users of Redis have no right to.
redis.call('DEL', activities_key)
for _, id in ipairs(left) do redis.call('SADD', activities_key, id) end
local before = tonumber(redis.call('HGET', lane_stats_key, 'archived') or '0')
redis.call('HSET', lane_stats_key, 'archived', whole(before + counted))
return {#keys / KEYS_AN_ACTIVITY}
