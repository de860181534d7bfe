#!lua flags=allow-oom
-- beat: one worker says that it lives, or that it ends. Forgets who was silent for too long.
--
-- KEYS[1] hash  worker -> what it says of itself   KEYS[2] sorted set  worker -> its last beat, ms
-- ARGV[1] worker   ARGV[2] what it says; "" ends it   ARGV[3] ms of silence until it is forgotten
--
-- Returns 1. Time is Redis's own. Safe to repeat. Runs on a full Redis too: it overwrites.

local workers_key, beats_key = KEYS[1], KEYS[2]
local worker, says, forget_after = ARGV[1], ARGV[2], tonumber(ARGV[3])

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local silent_since = string.format('%.0f', now - forget_after)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', beats_key, '-inf', silent_since)) do
  redis.call('HDEL', workers_key, gone)
  redis.call('ZREM', beats_key, gone)
end
if says == '' then
  redis.call('HDEL', workers_key, worker)
  redis.call('ZREM', beats_key, worker)
else
  redis.call('HSET', workers_key, worker, says)
  redis.call('ZADD', beats_key, string.format('%.0f', now), worker)
end
return 1
