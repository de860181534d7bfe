#!lua
-- rebuild: set a fenced lane to what its records prove. Only `manage.py recover` calls it.
--
-- KEYS[1] set activities   KEYS[2] hash positions   KEYS[3] hash lane stats   KEYS[4] hash lane
-- KEYS[5] hash stored   KEYS[6] hash settle positions   KEYS[7] hash settle stats
-- KEYS[8] hash settle read
-- KEYS[9...] twelve for each activity: hashes state, stock, loaded, stats, buyers, new buyers, clicks,
--            new clicks, held, new held; sorted sets due, new due
-- ARGV[1] token of the fence that the lane must have
-- ARGV[2] msgpack: {positions, recovered, activities, lane, stored, settle positions, settle stats}.
--         Positions: field, offset...
--         Each activity: {id, version when planned, state, stock, loaded, stats, token of the new
--         buyers or "", token of the new clicks, of the new holds}; each of the four hashes as
--         field, value...
--         Lane: field, value... of identity, generation, term. Stored: field, offset...
--
-- State, stock, loaded, buyers, clicks, holds and stored are replaced. The named fields of stats and
-- positions are set, and so is `recovered`. The generation is a new one, so every consumer and settler
-- asks where to go on. Until when the settle topic was read is forgotten: so nothing expires before
-- every settle message that Kafka has now is settled.
-- Returns 1, or without any change: -1 the lane has another fence or none; -2 somebody has changed
-- an activity, or recounted its buyers or clicks, since the plan was made.
-- Safe to repeat.

-- include numbers
-- include rights
-- include staged
local activities_key, positions_key, lane_stats_key, lane_key, stored_key = unpack(KEYS, 1, 5)
local fence_token, plan = ARGV[1], cmsgpack.unpack(ARGV[2])
local settle_positions_key, settle_stats_key, settle_read_key = unpack(KEYS, 6, 8)
local positions, recovered, activities, lane, stored = unpack(plan, 1, 5)
local settle_positions, settle_stats = plan[6], plan[7]
local FIRST_ACTIVITY_KEY, KEYS_AN_ACTIVITY, CHUNK = 9, 12, 4000

if redis.call('HGET', lane_key, 'fence_token') ~= fence_token then
  return -1
end
local missing = missing_right('SADD', activities_key, '1')
  or missing_right('HSET', positions_key, 'f', 'v') or missing_right('HSET', lane_stats_key, 'f', 'v')
  or missing_right('HSET', lane_key, 'f', 'v') or missing_right('HSET', stored_key, 'f', 'v')
  or missing_right('UNLINK', stored_key) or missing_right('HSET', settle_positions_key, 'f', 'v')
  or missing_right('HSET', settle_stats_key, 'f', 'v') or missing_right('UNLINK', settle_read_key)
if missing then return missing end
local registered = {}
for index, activity in ipairs(activities) do
  local first = FIRST_ACTIVITY_KEY + (index - 1) * KEYS_AN_ACTIVITY
  local state_key, new_buyers_key, token = KEYS[first], KEYS[first + 5], activity[7]
  local new_clicks_key, clicks_token = KEYS[first + 7], activity[8]
  registered[index] = redis.call('SISMEMBER', activities_key, activity[1]) == 1
  local version = registered[index] and redis.call('HGET', state_key, 'version') or '0'
  if version ~= activity[2] then
    return -2
  end
  if (token ~= '' and not is_staged(new_buyers_key, token))
      or not is_staged(new_clicks_key, clicks_token)
      or not is_staged(KEYS[first + 9], activity[9]) then
    return -2
  end
  for place = first, first + 9 do
    missing = missing_right('HSET', KEYS[place], 'f', 'v') or missing_right('UNLINK', KEYS[place])
    if missing then return missing end
  end
  for place = first + 10, first + 11 do
    missing = missing_right('UNLINK', KEYS[place])
    if missing then return missing end
  end
  missing = missing_right('RENAME', new_buyers_key, KEYS[first + 4])
    or missing_right('RENAME', new_clicks_key, KEYS[first + 6])
    or missing_right('RENAME', KEYS[first + 9], KEYS[first + 8])
    or missing_right('RENAME', KEYS[first + 11], KEYS[first + 10])
    or missing_right('HDEL', KEYS[first + 9], 'f')
  if missing then return missing end
end

local function write_hash(key, pairs_of)
  for first = 1, #pairs_of, CHUNK do
    redis.call('HSET', key, unpack(pairs_of, first, math.min(first + CHUNK - 1, #pairs_of)))
  end
end

for index, activity in ipairs(activities) do
  local first = FIRST_ACTIVITY_KEY + (index - 1) * KEYS_AN_ACTIVITY
  local state_key, stock_key, loaded_key = KEYS[first], KEYS[first + 1], KEYS[first + 2]
  local stats_key, buyers_key, new_buyers_key = KEYS[first + 3], KEYS[first + 4], KEYS[first + 5]
  local clicks_key, new_clicks_key = KEYS[first + 6], KEYS[first + 7]
  redis.call('UNLINK', state_key, stock_key, loaded_key, buyers_key)
  if not registered[index] then
    -- Left over from before the loss: the plan does not contain it.
    redis.call('UNLINK', stats_key)
  end
  write_hash(state_key, activity[3])
  write_hash(stock_key, activity[4])
  write_hash(loaded_key, activity[5])
  write_hash(stats_key, activity[6])
  if activity[7] ~= '' then
    take_in_buyers(new_buyers_key, buyers_key, {})
  end
  take_in(new_clicks_key, clicks_key)
  take_in_holds(unpack(KEYS, first + 8, first + 11))
  redis.call('SADD', activities_key, activity[1])
end
write_hash(positions_key, positions)
write_hash(settle_positions_key, settle_positions)
write_hash(settle_stats_key, settle_stats)
redis.call('UNLINK', settle_read_key)
redis.call('UNLINK', stored_key)
write_hash(stored_key, stored)
redis.call('HSET', lane_stats_key, 'recovered', recovered)
write_hash(lane_key, lane)
return 1
