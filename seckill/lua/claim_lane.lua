#!lua flags=allow-oom
-- claim_lane: write into Redis which lane it holds, and in which term it leads that lane.
--
-- KEYS[1] hash lane
-- ARGV[1] identity   ARGV[2] term   ARGV[3] generation, for a Redis that holds nothing yet
--
-- Returns 1, or 0 without any change: this Redis holds another lane, or leads it in a later term.
-- Safe to repeat. Runs on a full Redis too.

-- include rights
local lane_key = KEYS[1]
local identity, term, generation = unpack(ARGV, 1, 3)

local missing = missing_right('HSET', lane_key, 'f', 'v')
if missing then return missing end
local now = redis.call('HMGET', lane_key, 'identity', 'term')
if (now[1] and now[1] ~= identity) or tonumber(now[2] or 0) > tonumber(term) then
  return 0
end
if not now[1] then
  if redis.call('HEXISTS', lane_key, 'generation') == 0 then
    redis.call('HSET', lane_key, 'generation', generation)
  end
end
redis.call('HSET', lane_key, 'identity', identity, 'term', term)
return 1
