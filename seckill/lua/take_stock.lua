#!lua
-- take_stock: take unsold units of items from sale, for another part of the same split sale.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash lane   KEYS[3] hash state
-- KEYS[4] hash stock   KEYS[5] hash loaded
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] mark of this act's journal row, "0" for none   ARGV[6...] item, units, item, units...
--
-- For each item: left = left - n, loaded = loaded - n. So what was sold stays sold, and loaded = left +
-- sold as before. If no unit of any item is left, `over` becomes sold_out, unless it is set.
-- Returns {version, then for each item: left before, left now, loaded now}. Refused without any
-- change: {-7, item} fewer units are left | {-4, item} not on sale here | what include/act.lua
-- returns. All items are taken, or none.
-- Not safe to repeat: it takes again. With an expected version the repeat is refused.

-- include numbers
-- include rights
-- include act
local stock_key, loaded_key = KEYS[4], KEYS[5]
local FIRST_PAIR, TOO_FEW = 6, -7

local refused = refusal({stock_key, loaded_key}, true)
if refused then return refused end
if is_torn({stock_key, loaded_key}) then
  return {TORN}
end
local reply, writes, published = {0}, {}, {}
for i = FIRST_PAIR, #ARGV, 2 do
  local item, units = ARGV[i], tonumber(ARGV[i + 1])
  local left = tonumber(redis.call('HGET', stock_key, item) or nil)
  if not left then
    return {NOT_ON_SALE, item}
  end
  if left < units then
    return {TOO_FEW, item}
  end
  local loaded_now = tonumber(redis.call('HGET', loaded_key, item) or 0) - units
  writes[#writes + 1] = {item, whole(left - units), whole(loaded_now)}
  published[#published + 1] = '"' .. item .. '":' .. whole(units)
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = left, left - units, loaded_now
end

for _, entry in ipairs(writes) do
  redis.call('HSET', stock_key, entry[1], entry[2])
  redis.call('HSET', loaded_key, entry[1], entry[3])
end
local total = 0
for _, units in ipairs(redis.call('HVALS', stock_key)) do
  total = total + tonumber(units)
end
if total == 0 and redis.call('HEXISTS', state_key, 'over') == 0 then
  redis.call('HSET', state_key, 'over', 'sold_out')
end
reply[1] = conclude('take_stock', ',"taken":{' .. table.concat(published, ',') .. '}')
return reply
