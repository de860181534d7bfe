-- What was recounted from the records (see stage_hash and stage_holds) replaces the sale's own: the
-- buyers, the clicks, the holds. Field "" holds the token of the recount, or MARK in the sale's own
-- buyers and clicks. A sale whose hash must be there and has no mark has lost it, by eviction or by
-- hand: then everybody could buy again.
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

-- Replace the sale's own holds, and the times when they are due.
local function take_in_holds(held_key, new_held_key, due_key, new_due_key)
  redis.call('UNLINK', held_key, due_key)
  redis.call('HDEL', new_held_key, STAGED_TOKEN)
  if redis.call('EXISTS', new_held_key) == 1 then
    redis.call('RENAME', new_held_key, held_key)
    redis.call('RENAME', new_due_key, due_key)
  end
end
