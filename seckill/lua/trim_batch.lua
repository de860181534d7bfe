#!lua flags=allow-oom
-- trim_batch: take a stored batch off the tail of the list, if the tail still is that batch.
--
-- KEYS[1] list  records   KEYS[2] list  dead records
-- ARGV[1] how many records the batch has   ARGV[2] its oldest one (the tail)   ARGV[3] its newest
-- ARGV[4...] records of the batch that could not be stored, each with its reason: to be parked
--
-- Returns how many were taken: all, or 0 when the tail is another one: somebody else took it.
-- Safe to repeat: no two records are the same, so a tail that was taken never comes again. Junk can
-- be, so the caller sees to it that the newest is a record, or the batch one entry.
-- Runs on a full Redis too (allow-oom): it is what makes room there.

local list_key, dead_key = KEYS[1], KEYS[2]
local size, oldest, newest = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local FIRST_DEAD = 4

if redis.call('LINDEX', list_key, -1) ~= oldest or redis.call('LINDEX', list_key, -size) ~= newest then
  return 0
end
for i = FIRST_DEAD, #ARGV do
  redis.call('LPUSH', dead_key, ARGV[i])
end
redis.call('LTRIM', list_key, 0, -size - 1)
return size
