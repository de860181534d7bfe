#!lua flags=allow-oom
-- fence: stop all deciding in a lane, or let it go on.
--
-- KEYS[1] hash lane
-- ARGV[1] word, or "" to lift the fence   ARGV[2] why, in words   ARGV[3] "1": also over another fence
--
-- Returns 1 when it was set or lifted, 0 when there was nothing to do.
-- Safe to repeat. Runs on a full Redis too.

local lane_key = KEYS[1]
local word, why, replace = ARGV[1], ARGV[2], ARGV[3]

if word == '' then
  return redis.call('HDEL', lane_key, 'fenced', 'fenced_at', 'fenced_why') > 0 and 1 or 0
end
if redis.call('HEXISTS', lane_key, 'fenced') == 1 and replace ~= '1' then
  return 0
end
redis.call('HSET', lane_key, 'fenced', word, 'fenced_at', redis.call('TIME')[1] .. '000',
  'fenced_why', why)
return 1
