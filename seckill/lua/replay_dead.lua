#!lua
-- replay_dead: put a record that PostgreSQL refused back into the list, for a log worker to retry.
--
-- KEYS[1] list  records   KEYS[2] hash  lane
-- ARGV[1] the record; its text must differ from all earlier ones
--
-- Returns 1, or 0 when the lane is fenced.
-- Repeating it adds the record twice. Both have one identity, so it is stored once.

-- include rights
local list_key, lane_key = KEYS[1], KEYS[2]

if redis.call('HEXISTS', lane_key, 'fenced') == 1 then
  return 0
end
local missing = missing_right('LPUSH', list_key, ARGV[1])
if missing then return missing end
redis.call('LPUSH', list_key, ARGV[1])
return 1
