-- What add_stock and take_stock share: a change of units left, with the units that they are left of.
-- KEYS[4] hash  stock   KEYS[5] hash  loaded   ARGV[6...] item, units, item, units...
local stock_key, loaded_key = KEYS[4], KEYS[5]
local FIRST_PAIR, TOO_FEW = 6, -7

-- Change all items, by `sign` 1 or -1, or none. Returns why not; or nil, the reply without its
-- version, and the changes as members of JSON.
local function change_units(sign)
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
    local left_now = left + sign * units
    local loaded_now = tonumber(redis.call('HGET', loaded_key, item) or 0) + sign * units
    if left_now < 0 then
      return {TOO_FEW, item}
    end
    if loaded_now > MOST_UNITS then
      return {TOO_MANY, item}
    end
    writes[#writes + 1] = {item, whole(left_now), whole(loaded_now)}
    published[#published + 1] = '"' .. item .. '":' .. whole(units)
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = left, left_now, loaded_now
  end
  for _, entry in ipairs(writes) do
    redis.call('HSET', stock_key, entry[1], entry[2])
    redis.call('HSET', loaded_key, entry[1], entry[3])
  end
  return nil, reply, table.concat(published, ',')
end
