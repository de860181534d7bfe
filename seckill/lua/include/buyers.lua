-- Buyers who were counted from the records (see stage_buyers) become the sale's own. In field "" they
-- carry the token of their count. The sale's own have MARK there: a hash that is counted in and has
-- no mark was lost, by eviction or by hand, and would let everybody buy again.
local BUYERS_TOKEN, BUYERS_MARK = '', '1'

local function buyers_are_of(new_buyers_key, token)
  return redis.call('HGET', new_buyers_key, BUYERS_TOKEN) == token
end

-- Put them in the place of the sale's own. Those who bought since they were counted are added.
local function take_in_buyers(new_buyers_key, buyers_key, since)
  for i = 1, #since, 2 do
    if since[i] ~= BUYERS_TOKEN then
      local units = tonumber(redis.call('HGET', new_buyers_key, since[i]) or 0)
      redis.call('HSET', new_buyers_key, since[i], whole(units + tonumber(since[i + 1])))
    end
  end
  redis.call('HSET', new_buyers_key, BUYERS_TOKEN, BUYERS_MARK)
  redis.call('RENAME', new_buyers_key, buyers_key)
end
