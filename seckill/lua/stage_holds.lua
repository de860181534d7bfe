#!lua
-- stage_holds: write the holds that the records prove beside the sale's own, for a script that takes
-- them over.
--
-- KEYS[1] hash new holds, and the token of this count in field ""   KEYS[2] sorted set new due
-- ARGV[1] token of this count   ARGV[2] "1": begin it, which ends any other count
-- ARGV[3...] name of a block, its earliest due in ms, its text, name, due, text...: at most 3,000
--            values, and each block once
--
-- Returns 1, or 0 without any change: another count has begun, or a script has taken this over.
-- Safe to repeat until it is taken over.

-- include rights
local new_held_key, new_due_key = KEYS[1], KEYS[2]
local token, begin = ARGV[1], ARGV[2]
local TOKEN, FIRST, VALUES = '', 3, 3

local missing = missing_right('UNLINK', new_held_key) or missing_right('UNLINK', new_due_key)
  or missing_right('HSET', new_held_key, 'f', 'v') or missing_right('ZADD', new_due_key, '1', 'v')
if missing then return missing end
if begin == '1' then
  redis.call('UNLINK', new_held_key, new_due_key)
  redis.call('HSET', new_held_key, TOKEN, token)
elseif redis.call('HGET', new_held_key, TOKEN) ~= token then
  return 0
end
for i = FIRST, #ARGV, VALUES do
  redis.call('HSET', new_held_key, ARGV[i], ARGV[i + 2])
  redis.call('ZADD', new_due_key, ARGV[i + 1], ARGV[i])
end
return 1
