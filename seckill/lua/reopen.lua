#!lua flags=allow-oom
-- reopen: undo the finish of an activity. If no unit is left it is sold out.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash lane   KEYS[3] hash state
-- KEYS[4] hash stock
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] mark of this act's journal row, "0" for none
--
-- Returns {version, over before or "", over now or ""}, or what include/act.lua returns.
-- Repeating it leaves the activity open and increments the version. Runs on a full Redis too.

-- include numbers
-- include rights
-- include act
local stock_key = KEYS[4]

local refused = refusal({}, true)
if refused then return refused end
local before = redis.call('HGET', state_key, 'over') or ''
local total, now = 0, ''
for _, units in ipairs(redis.call('HVALS', stock_key)) do
  total = total + tonumber(units)
end
if total > 0 then
  redis.call('HDEL', state_key, 'over')
else
  now = 'sold_out'
  redis.call('HSET', state_key, 'over', now)
end
return {conclude('reopen', ''), before, now}
