#!lua flags=allow-oom
-- pause: pause an activity, or resume it. While it is paused every request is NOT_OPEN.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash lane   KEYS[3] hash state
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] mark of this act's journal row, "0" for none   ARGV[6] "pause" or "resume"
--
-- Returns {version, 1 or 0: paused before}, or what include/act.lua returns.
-- Repeating it leaves the activity as it is and increments the version. Runs on a full Redis too.

-- include numbers
-- include rights
-- include act
local command = ARGV[6]

local refused = refusal({}, true)
if refused then return refused end
local before = redis.call('HEXISTS', state_key, 'paused')
if command == 'pause' then
  redis.call('HSET', state_key, 'paused', '1')
else
  redis.call('HDEL', state_key, 'paused')
end
return {conclude(command, ''), before}
