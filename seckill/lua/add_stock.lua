#!lua
-- add_stock: put more units of items on sale. Statistics continue; what was sold stays sold.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash lane   KEYS[3] hash state
-- KEYS[4] hash stock   KEYS[5] hash loaded
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] mark of this act's journal row, "0" for none   ARGV[6...] item, units, item, units...
--
-- For each item: left = left + n, loaded = loaded + n. `over` is cleared if it was sold_out; a
-- finished activity stays finished.
-- Returns {version, then for each item: left before, left now, loaded now}. Refused without any
-- change: {-3, item} more units than Lua counts exactly | {-4, item} not on sale here | what
-- include/act.lua returns.
-- Not safe to repeat: it adds again. With an expected version the repeat is refused.

-- include numbers
-- include rights
-- include act
-- include units
local refused, reply, published = change_units(1)
if refused then return refused end

if redis.call('HGET', state_key, 'over') == 'sold_out' then
  redis.call('HDEL', state_key, 'over')
end
reply[1] = conclude('add_stock', ',"added":{' .. published .. '}')
return reply
