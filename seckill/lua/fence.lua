#!lua flags=allow-oom
-- fence: stop all decisions in a lane, or let it go on.
--
-- KEYS[1] hash lane
-- ARGV[1] word, or "" to lift the fence   ARGV[2] why, in words   ARGV[3] token of the caller
-- ARGV[4] "1": replace an existing fence   ARGV[5] generation of the reason, "" for any
--
-- Only its own token lifts a fence: a late lift may find somebody else's fence. A reason that was
-- found in an earlier generation is late as well: the lane was rebuilt since.
-- Returns 1 if the fence was set or lifted, 0 if there was nothing to do or the call came too late.
-- Safe to repeat. Runs on a full Redis too.

-- include rights
local lane_key = KEYS[1]
local word, why, token, replace, generation = unpack(ARGV, 1, 5)

local missing = missing_right('HSET', lane_key, 'f', 'v') or missing_right('HDEL', lane_key, 'f')
if missing then return missing end
local now = redis.call('HMGET', lane_key, 'fenced', 'fence_token', 'generation')
if word == '' then
  if not now[1] or now[2] ~= token then return 0 end
  redis.call('HDEL', lane_key, 'fenced', 'fenced_at', 'fenced_why', 'fence_token')
  return 1
end
if generation ~= '' and generation ~= (now[3] or '0') then
  return 0
end
if now[1] and replace ~= '1' then
  return 0
end
redis.call('HSET', lane_key, 'fenced', word, 'fenced_at', redis.call('TIME')[1] .. '000',
  'fenced_why', why, 'fence_token', token)
return 1
