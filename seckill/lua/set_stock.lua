#!lua
-- set_stock: items have n units left from now on. What was sold stays sold.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash lane   KEYS[3] hash state
-- KEYS[4] hash stock   KEYS[5] hash loaded   KEYS[6] hash stats
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] mark of this act's journal row, "0" for none   ARGV[6...] item, units, item, units...
--
-- For each item: loaded = sold + n, left = n. Statistics restart from a baseline. `over` is
-- cleared, or set to sold_out if no unit of any item is left.
-- Returns {version, then for each item: left before, loaded before, loaded now}. Refused without
-- any change: {-3, item} more units than Lua counts exactly | what include/act.lua returns.
-- Repeating it sets the items to n again, which differs if units were sold in between.

-- include numbers
-- include rights
-- include act
local stock_key, loaded_key, stats_key = unpack(KEYS, 4, 6)
local FIRST_PAIR = 6

local refused = missing_right('SADD', activities_key, activity_id)
  or refusal({stock_key, loaded_key, stats_key}, false)
if refused then return refused end
if is_torn({stock_key, loaded_key}) then
  return {TORN}
end
local reply, stock, published = {0}, {}, {}
for i = FIRST_PAIR, #ARGV, 2 do
  local item, units = ARGV[i], tonumber(ARGV[i + 1])
  local left = tonumber(redis.call('HGET', stock_key, item) or 0)
  local loaded = tonumber(redis.call('HGET', loaded_key, item) or 0)
  local loaded_now = loaded - left + units
  if loaded_now > MOST_UNITS then
    return {TOO_MANY, item}
  end
  stock[#stock + 1] = {item, whole(units), whole(loaded_now)}
  published[#published + 1] = '"' .. item .. '":' .. whole(units)
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = left, loaded, loaded_now
end
local stats = redis.call('HGETALL', stats_key)

redis.call('SADD', activities_key, activity_id)
for _, entry in ipairs(stock) do
  redis.call('HSET', stock_key, entry[1], entry[2])
  redis.call('HSET', loaded_key, entry[1], entry[3])
end
local total = 0
for _, units in ipairs(redis.call('HVALS', stock_key)) do
  total = total + tonumber(units)
end
if total > 0 then
  redis.call('HDEL', state_key, 'over')
else
  redis.call('HSET', state_key, 'over', 'sold_out')
end
for i = 1, #stats, 2 do
  if string.sub(stats[i], 1, 5) ~= 'base:' then
    redis.call('HSET', stats_key, 'base:' .. stats[i], stats[i + 1])
  end
end
reply[1] = conclude('set_stock', ',"stock":{' .. table.concat(published, ',') .. '}')
return reply
