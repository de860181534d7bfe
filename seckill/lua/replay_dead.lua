#!lua
-- replay_dead: move a parked record back to the list, whose log worker tries it again.
--
-- KEYS[1] list  records   KEYS[2] list  dead records   KEYS[3] hash  state of the lane
-- ARGV[1] the letter as it is parked   ARGV[2] the record, different from every one before
--
-- Returns 1 when it was moved, 0 when the letter is not there (any more), -1 when the lane is fenced.
-- Safe to repeat: the letter is taken and the record pushed in one call, so a repeat finds nothing.

local list_key, dead_key, lane_key = KEYS[1], KEYS[2], KEYS[3]
local letter, record = ARGV[1], ARGV[2]
local OLDEST_FIRST = -1

if redis.call('HEXISTS', lane_key, 'fenced') == 1 then
  return -1
end
if redis.call('LREM', dead_key, OLDEST_FIRST, letter) == 0 then
  return 0
end
redis.call('LPUSH', list_key, record)
return 1
