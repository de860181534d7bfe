#!lua
-- append_sample: add one sample to the lane's history, at most one per second whoever calls.
--
-- KEYS[1] sorted set  samples, each "<ms> <body>", its score the ms
-- ARGV[1] body   ARGV[2] samples kept, at most
--
-- Returns 1, or 0 if this second already has its sample.
-- Of a run of equal bodies only the first and the last stay: a quiet lane costs two samples.
-- Time is Redis's own. Samples with a later time come from a wrong clock and are removed.
-- Safe to repeat.

local series_key = KEYS[1]
local body, kept = ARGV[1], tonumber(ARGV[2])
-- Ms that the clock may go back without a sample lost. A synchronised clock is adjusted by less.
local STEP_BACK = 5000

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

redis.call('ZREMRANGEBYSCORE', series_key, string.format('(%.0f', now + STEP_BACK), '+inf')
local last = redis.call('ZRANGE', series_key, -2, -1)
local function same(sample)
  return sample ~= nil and string.sub(sample, string.find(sample, ' ', 1, true) + 1) == body
end
local newest = last[#last]
if newest then
  local at = tonumber(string.match(newest, '^%d+'))
  if math.floor(at / 1000) >= tonumber(clock[1]) then
    return 0
  end
  if #last == 2 and same(last[1]) and same(last[2]) then
    redis.call('ZREM', series_key, newest)
  end
end
local stamp = string.format('%.0f', now)
redis.call('ZADD', series_key, stamp, stamp .. ' ' .. body)
redis.call('ZREMRANGEBYRANK', series_key, 0, -kept - 1)
return 1
