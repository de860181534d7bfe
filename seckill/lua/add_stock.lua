#!lua
-- add_stock: put more units of items on sale. Statistics go on, what was sold stays sold.
--
-- KEYS[1] set   ids of the loaded activities   KEYS[2] hash state
-- KEYS[3] hash  stock    KEYS[4] hash loaded
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] journal row of this act, "0" for none   ARGV[6...] item, units, item, units...
--
-- For each item: left = left + n, loaded = loaded + n. `over` is cleared where it was sold_out; a
-- finished activity stays finished.
-- Returns {version, then for each item: left before, left now, loaded now}, or without any change
-- {-1} not loaded | {-2, version} it has moved | {-3, item} more units than Lua counts exactly |
-- {-4, item} not on sale here.
-- Repeating it adds again; with an expected version the repeat is refused.

local activities_key, state_key, stock_key, loaded_key = unpack(KEYS)
local activity_id, channel, actor, expected, journal = unpack(ARGV, 1, 5)
local NOT_LOADED, MOVED, TOO_MANY, NOT_ON_SALE = -1, -2, -3, -4
local FIRST_PAIR, MOST_UNITS = 6, 1e15

if redis.call('SISMEMBER', activities_key, activity_id) == 0 then
  return {NOT_LOADED}
end
local seen = redis.call('HGET', state_key, 'version') or '0'
if expected ~= '' and expected ~= seen then
  return {MOVED, tonumber(seen)}
end
local reply, writes, published = {0}, {}, {}
for i = FIRST_PAIR, #ARGV, 2 do
  local item, units = ARGV[i], tonumber(ARGV[i + 1])
  local left = tonumber(redis.call('HGET', stock_key, item) or nil)
  if not left then
    return {NOT_ON_SALE, item}
  end
  local loaded_now = tonumber(redis.call('HGET', loaded_key, item) or 0) + units
  if loaded_now > MOST_UNITS then
    return {TOO_MANY, item}
  end
  writes[#writes + 1] = {item, left + units, loaded_now}
  published[item] = units
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = left, left + units, loaded_now
end

for _, entry in ipairs(writes) do
  redis.call('HSET', stock_key, entry[1], string.format('%.0f', entry[2]))
  redis.call('HSET', loaded_key, entry[1], string.format('%.0f', entry[3]))
end
if redis.call('HGET', state_key, 'over') == 'sold_out' then
  redis.call('HDEL', state_key, 'over', 'over_at')
end
if journal ~= '0' then
  redis.call('HSET', state_key, 'journal', journal)
end
local version = redis.call('HINCRBY', state_key, 'version', 1)
redis.call('PUBLISH', channel, '{"cmd":"add_stock","activity_id":' .. activity_id
  .. ',"added":' .. cjson.encode(published)
  .. ',"actor":' .. cjson.encode(actor) .. ',"version":' .. version .. '}')
reply[1] = version
return reply
