#!lua flags=allow-oom
-- rate_limit: may this call go on? Every bucket that counts it must have room for one more.
--
-- KEYS[1...] string  each bucket: the time in µs at which it will be empty again
-- ARGV[1] calls per second that a bucket allows   ARGV[2] calls that may come in one burst
--
-- Returns {1 or 0: may it go on, calls left, ms until all are left again, ms until one more is},
-- for the fullest bucket. A refused call is counted in no bucket.
-- Not safe to repeat: each call counts. A bucket expires when it is empty.
-- A bucket is never fuller than its size. One that seems to be was filled before the clock went back.

local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local step = 1e6 / rate
local room = burst * step
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1e6 + tonumber(clock[2])

local fullest, filled = now, {}
for i, bucket in ipairs(KEYS) do
  local empty_at = math.max(now, tonumber(redis.call('GET', bucket) or 0))
  empty_at = math.min(empty_at, now + room)
  fullest = math.max(fullest, empty_at)
  filled[i] = empty_at + step
end
local after = fullest + step
if after - now > room then
  return {0, 0, math.ceil((fullest - now) / 1000), math.ceil((after - now - room) / 1000)}
end
for i, bucket in ipairs(KEYS) do
  redis.call('SET', bucket, string.format('%.0f', filled[i]),
    'PX', math.ceil((filled[i] - now) / 1000) + 1)
end
return {1, math.floor((room - (after - now)) / step), math.ceil((after - now) / 1000), 0}
