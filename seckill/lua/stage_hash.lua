#!lua
-- stage_hash: write a recounted hash beside the sale's own, for a script that takes it over.
--
-- KEYS[1] hash  the new fields, and the token of the recount in field ""
-- ARGV[1] token of this recount   ARGV[2] "1": begin it, which ends any other recount
-- ARGV[3...] field, value, field, value...: at most 4,000 values
--
-- Returns 1, or 0 without any change: another recount has begun, or a script has taken this over.
-- Safe to repeat until it is taken over.

-- include rights
local new_key = KEYS[1]
local token, begin = ARGV[1], ARGV[2]
local TOKEN, FIRST_PAIR = '', 3

local missing = missing_right('UNLINK', new_key)
  or missing_right('HSET', new_key, 'f', 'v')
if missing then return missing end
if begin == '1' then
  redis.call('UNLINK', new_key)
  redis.call('HSET', new_key, TOKEN, token)
elseif redis.call('HGET', new_key, TOKEN) ~= token then
  return 0
end
if #ARGV >= FIRST_PAIR then
  redis.call('HSET', new_key, unpack(ARGV, FIRST_PAIR))
end
return 1
