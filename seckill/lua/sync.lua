#!lua
-- sync: set items to what the database says: left = allocation - sold, never below 0.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash lane   KEYS[3] hash state
-- KEYS[4] hash stock   KEYS[5] hash loaded
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] version when `sold` was counted
-- ARGV[5] mark of this act's journal row, "0" for none
-- ARGV[6...] four for each item: item, allocation, sold as counted, loaded - left when counted
--
-- Units sold since the count are the growth of loaded - left, so this works during a sale.
-- Returns {version, then for each item: left before, left now, loaded now}, or what include/act.lua
-- returns. {-2, version}: the version has changed since the count; count again.
-- Repeating it changes nothing but the version.

-- include numbers
-- include rights
-- include act
local stock_key, loaded_key = KEYS[4], KEYS[5]
local FIRST_ITEM, FIELDS = 6, 4

local refused = missing_right('SADD', activities_key, activity_id)
  or refusal({stock_key, loaded_key}, false)
if refused then return refused end
if is_torn({stock_key, loaded_key}) then
  return {TORN}
end
local reply, total = {0}, 0
local writes = {}
for i = FIRST_ITEM, #ARGV, FIELDS do
  local item, allocation = ARGV[i], tonumber(ARGV[i + 1])
  local sold, gone_at_count = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local left = tonumber(redis.call('HGET', stock_key, item) or 0)
  local loaded = tonumber(redis.call('HGET', loaded_key, item) or 0)
  local sold_now = sold + (loaded - left) - gone_at_count
  local left_now = math.max(0, allocation - sold_now)
  writes[#writes + 1] = {item, whole(left_now), whole(sold_now + left_now)}
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = left, left_now, sold_now + left_now
end

redis.call('SADD', activities_key, activity_id)
for _, entry in ipairs(writes) do
  redis.call('HSET', stock_key, entry[1], entry[2])
  redis.call('HSET', loaded_key, entry[1], entry[3])
end
for _, units in ipairs(redis.call('HVALS', stock_key)) do
  total = total + tonumber(units)
end
local over = redis.call('HGET', state_key, 'over')
if total == 0 and not over then
  redis.call('HSET', state_key, 'over', 'sold_out')
elseif total > 0 and over == 'sold_out' then
  redis.call('HDEL', state_key, 'over')
end
reply[1] = conclude('sync_from_db', '')
return reply
