-- Buyers who were recounted from the records (see stage_buyers) replace the sale's own buyers.
-- Field "" holds the token of the recount, or MARK in the sale's own hash. A limited sale whose
-- hash has no mark has lost it, by eviction or by hand: then everybody could buy again.
local BUYERS_TOKEN, BUYERS_MARK = '', '1'

local function buyers_are_of(new_buyers_key, token)
  return redis.call('HGET', new_buyers_key, BUYERS_TOKEN) == token
end

-- Replace the sale's own buyers. Units bought since the recount began (`since`) are added.
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
