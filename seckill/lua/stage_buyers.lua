#!lua
-- stage_buyers: write what buyers have beside the sale's own buyers, for a script that takes it in.
--
-- KEYS[1] hash  new buyers: user to units, and the count's token in field ""
-- ARGV[1] token of this count   ARGV[2] "1": begin it, which ends any other
-- ARGV[3...] user, units, user, units...: at most 4,000 values
--
-- Returns 1, or without any change 0: another count has begun since, or a script has taken this in.
-- Safe to repeat before it is taken in.

-- include rights
local new_buyers_key = KEYS[1]
local token, begin = ARGV[1], ARGV[2]
local TOKEN, FIRST_PAIR = '', 3

local missing = missing_right('UNLINK', new_buyers_key)
  or missing_right('HSET', new_buyers_key, 'f', 'v')
if missing then return missing end
if begin == '1' then
  redis.call('UNLINK', new_buyers_key)
  redis.call('HSET', new_buyers_key, TOKEN, token)
elseif redis.call('HGET', new_buyers_key, TOKEN) ~= token then
  return 0
end
if #ARGV >= FIRST_PAIR then
  redis.call('HSET', new_buyers_key, unpack(ARGV, FIRST_PAIR))
end
return 1
