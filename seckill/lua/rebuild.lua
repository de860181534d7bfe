#!lua
-- rebuild: put a lane that is fenced to what its records prove. Only `manage.py recover` calls it.
--
-- KEYS[1] set activities   KEYS[2] hash positions   KEYS[3] hash lane stats   KEYS[4] hash lane
-- KEYS[5...] six for each activity: hashes state, stock, loaded, stats, buyers, and the new buyers
-- ARGV[1] the word that the lane must be fenced with
-- ARGV[2] msgpack: {positions, recovered, activities}. Positions: field, offset, field, offset...
--         Each activity: {id, version when planned, state, stock, loaded, stats, token of the new
--         buyers or ""}, each of the four hashes as field, value...
--
-- State, stock, loaded and buyers are replaced; stats and positions get the fields that are named;
-- `recovered` is set. The generation counts up, so that every consumer asks where to go on.
-- Returns the new generation, or, without any change, -1 when the lane is not fenced with that word,
-- -2 when somebody has steered an activity, or counted its buyers, since the plan was made.
-- Safe to repeat.

local activities_key, positions_key, lane_stats_key, lane_key = unpack(KEYS, 1, 4)
local word, plan = ARGV[1], cmsgpack.unpack(ARGV[2])
local positions, recovered, activities = plan[1], plan[2], plan[3]
local FIRST_ACTIVITY_KEY, KEYS_AN_ACTIVITY, CHUNK, TOKEN = 5, 6, 4000, ''

if redis.call('HGET', lane_key, 'fenced') ~= word then
  return -1
end
local registered = {}
for index, activity in ipairs(activities) do
  local first = FIRST_ACTIVITY_KEY + (index - 1) * KEYS_AN_ACTIVITY
  local state_key, new_buyers_key, token = KEYS[first], KEYS[first + 5], activity[7]
  registered[index] = redis.call('SISMEMBER', activities_key, activity[1]) == 1
  local version = registered[index] and redis.call('HGET', state_key, 'version') or '0'
  if version ~= activity[2] then
    return -2
  end
  if token ~= '' and redis.call('HGET', new_buyers_key, TOKEN) ~= token then
    return -2
  end
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
  redis.call('UNLINK', state_key, stock_key, loaded_key, buyers_key)
  if not registered[index] then
    -- Left over from before: the plan does not know of it.
    redis.call('UNLINK', stats_key)
  end
  write_hash(state_key, activity[3])
  write_hash(stock_key, activity[4])
  write_hash(loaded_key, activity[5])
  write_hash(stats_key, activity[6])
  if activity[7] ~= '' then
    redis.call('HDEL', new_buyers_key, TOKEN)
    if redis.call('EXISTS', new_buyers_key) == 1 then
      redis.call('RENAME', new_buyers_key, buyers_key)
    end
  end
  redis.call('SADD', activities_key, activity[1])
end
write_hash(positions_key, positions)
redis.call('HSET', lane_stats_key, 'recovered', recovered)
return redis.call('HINCRBY', lane_key, 'generation', 1)
