#!lua
-- split: make an activity the first part of a sale over several lanes, before its first decision.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash lane   KEYS[3] hash state
-- KEYS[4] hash stats
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] mark of this act's journal row, "0" for none   ARGV[6] how many parts
--
-- From the next batch on decide_batch refuses whom another part serves. Units are moved later.
-- Returns {version}. Refused without any change: {-8, n} n requests got another answer than NOT_OPEN,
-- so some of them may have bought in this part, and would buy again in theirs | what
-- include/act.lua returns.
-- Safe to repeat; each call increments the version.

-- include numbers
-- include rights
-- include act
local stats_key, parts = KEYS[4], ARGV[6]
local DECIDED, NOT_OPEN = -8, '-5'

local refused = refusal({}, true)
if refused then return refused end
local decided, stats = 0, redis.call('HGETALL', stats_key)
for i = 1, #stats, 2 do
  if string.find(stats[i], '^-?%d$') and stats[i] ~= NOT_OPEN then
    decided = decided + tonumber(stats[i + 1])
  end
end
if decided > 0 then
  return {DECIDED, decided}
end

redis.call('HSET', state_key, 'part', '0/' .. parts)
return {conclude('split_activity', ',"parts":' .. parts)}
