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
-- include units
local refused, reply, published = change_units(-1)
if refused then return refused end

local total = 0
for _, units in ipairs(redis.call('HVALS', stock_key)) do
  total = total + tonumber(units)
end
if total == 0 and redis.call('HEXISTS', state_key, 'over') == 0 then
  redis.call('HSET', state_key, 'over', 'sold_out')
end
reply[1] = conclude('take_stock', ',"taken":{' .. published .. '}')
return reply
