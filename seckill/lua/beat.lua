#!lua flags=allow-oom
-- beat: one worker says that it lives, or that it ends. Forgets who was silent for too long.
--
-- KEYS[1] hash  worker -> what it says of itself   KEYS[2] sorted set  worker -> its last beat, ms
-- ARGV[1] worker   ARGV[2] what it says; "" ends it   ARGV[3] ms of silence until it is forgotten
--
-- Returns 1. Time is Redis's own; who beat at a later time did so by a clock that was wrong, and is
-- known again with the next beat. Safe to repeat. Runs on a full Redis too: it overwrites.

local workers_key, beats_key = KEYS[1], KEYS[2]
local worker, says, forget_after = ARGV[1], ARGV[2], tonumber(ARGV[3])

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Ms that the clock may go back: one that is kept right is moved by less.
local STEP_BACK = 5000
local function forget(from, to)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', beats_key, from, to)) do
    redis.call('HDEL', workers_key, gone)
    redis.call('ZREM', beats_key, gone)
  end
end
forget('-inf', string.format('%.0f', now - forget_after))
forget(string.format('(%.0f', now + STEP_BACK), '+inf')
if says == '' then
  redis.call('HDEL', workers_key, worker)
  redis.call('ZREM', beats_key, worker)
else
  redis.call('HSET', workers_key, worker, says)
  redis.call('ZADD', beats_key, string.format('%.0f', now), worker)
end
return 1
