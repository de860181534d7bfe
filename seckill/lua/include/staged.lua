-- Hashes that were recounted from the records (see stage_hash) replace the sale's own: the buyers, and
-- the clicks. Field "" holds the token of the recount, or MARK in the sale's own hash. A sale whose
-- hash must be there and has no mark has lost it, by eviction or by hand: then everybody could buy again.
local STAGED_TOKEN, MARK = '', '1'

local function is_staged(new_key, token)
  return redis.call('HGET', new_key, STAGED_TOKEN) == token
end

-- Replace the sale's own hash.
local function take_in(new_key, key)
  redis.call('HSET', new_key, STAGED_TOKEN, MARK)
  redis.call('RENAME', new_key, key)
end

-- Replace the sale's own buyers. Units bought since the recount began (`since`) are added; those given
-- back since are negative there.
local function take_in_buyers(new_buyers_key, buyers_key, since)
  for i = 1, #since, 2 do
    if since[i] ~= STAGED_TOKEN then
      local units = tonumber(redis.call('HGET', new_buyers_key, since[i]) or 0)
      units = units + tonumber(since[i + 1])
      if units > 0 then
        redis.call('HSET', new_buyers_key, since[i], whole(units))
      else
        redis.call('HDEL', new_buyers_key, since[i])
      end
    end
  end
  take_in(new_buyers_key, buyers_key)
end
