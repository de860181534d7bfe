#!lua
-- set_stock: put items at n units each from now on. What was sold stays sold.
--
-- KEYS[1] set   ids of the loaded activities
-- KEYS[2] hash  state    KEYS[3] hash stock    KEYS[4] hash loaded    KEYS[5] hash stats
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] journal row of this act, "0" for none   ARGV[6...] item, units, item, units...
--
-- For each item: loaded = sold + n, left = n. Statistics start again from a baseline; `over` is
-- cleared, or set to sold_out where no unit of any item is left.
-- Returns {version, then for each item: left before, loaded before, loaded now}, or without any
-- change {-2, version} it has moved | {-3, item} more units than Lua counts exactly.
-- Repeating it puts the items at n again: not the same thing, where units were sold in between.

local activities_key, state_key, stock_key, loaded_key, stats_key = unpack(KEYS)
local activity_id, channel, actor, expected, journal = unpack(ARGV, 1, 5)
local MOVED, TOO_MANY = -2, -3
local FIRST_PAIR, MOST_UNITS = 6, 1e15

local seen = redis.call('HGET', state_key, 'version') or '0'
if expected ~= '' and expected ~= seen then
  return {MOVED, tonumber(seen)}
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
  stock[#stock + 1] = {item, ARGV[i + 1], string.format('%.0f', loaded_now)}
  published[item] = units
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = left, loaded, loaded_now
end

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
  redis.call('HDEL', state_key, 'over', 'over_at')
else
  redis.call('HSET', state_key, 'over', 'sold_out')
end
local stats = redis.call('HGETALL', stats_key)
for i = 1, #stats, 2 do
  if string.sub(stats[i], 1, 5) ~= 'base:' then
    redis.call('HSET', stats_key, 'base:' .. stats[i], stats[i + 1])
  end
end
if journal ~= '0' then
  redis.call('HSET', state_key, 'journal', journal)
end
local version = redis.call('HINCRBY', state_key, 'version', 1)
redis.call('PUBLISH', channel, '{"cmd":"set_stock","activity_id":' .. activity_id
  .. ',"stock":' .. cjson.encode(published)
  .. ',"actor":' .. cjson.encode(actor) .. ',"version":' .. version .. '}')
reply[1] = version
return reply
