#!lua
-- replay_dead: put a record that PostgreSQL had refused back into the list, whose log worker tries it
-- again.
--
-- KEYS[1] list  records   KEYS[2] hash  lane
-- ARGV[1] the record, different from every one before
--
-- Returns 1, or 0 when the lane is fenced.
-- Repeating it puts the record there twice: one identity, so it is stored once.

-- include rights
local list_key, lane_key = KEYS[1], KEYS[2]

if redis.call('HEXISTS', lane_key, 'fenced') == 1 then
  return 0
end
local missing = missing_right('LPUSH', list_key, ARGV[1])
if missing then return missing end
redis.call('LPUSH', list_key, ARGV[1])
return 1
