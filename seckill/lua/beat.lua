#!lua flags=allow-oom
-- beat: a worker reports that it is alive, or that it ends. Forgets workers silent for too long.
--
-- KEYS[1] hash  worker -> its report   KEYS[2] sorted set  worker -> its last beat, ms
-- ARGV[1] worker   ARGV[2] its report; "" ends it   ARGV[3] ms of silence before it is forgotten
--
-- Returns 1. Time is Redis's own. A beat with a later time came from a wrong clock: its worker is
-- forgotten until its next beat. Safe to repeat. Runs on a full Redis too: it overwrites.

local workers_key, beats_key = KEYS[1], KEYS[2]
local worker, says, forget_after = ARGV[1], ARGV[2], tonumber(ARGV[3])

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Ms that the clock may go back. A synchronised clock is adjusted by less.
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
