#!lua flags=allow-oom
-- finish: end an activity, whatever is left. Every request decided after this is OVER.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash lane   KEYS[3] hash state
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] mark of this act's journal row, "0" for none
--
-- Returns {version, over before or ""}, or what include/act.lua returns.
-- Repeating it leaves the activity finished and increments the version. Runs on a full Redis too.

-- include numbers
-- include rights
-- include act

local refused = refusal({}, true)
if refused then return refused end
local before = redis.call('HGET', state_key, 'over') or ''
redis.call('HSET', state_key, 'over', 'finished')
return {conclude('finish_activity', ''), before}
