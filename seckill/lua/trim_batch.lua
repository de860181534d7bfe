#!lua flags=allow-oom
-- trim_batch: remove a stored batch from the tail of the list, if the tail still is that batch.
--
-- KEYS[1] list  records   KEYS[2] hash  lane   KEYS[3] hash  stored
-- ARGV[1] how many records the batch has   ARGV[2] its oldest one (the tail)   ARGV[3] its newest
-- ARGV[4] trims: how many batches had been removed from the list when this one was read
-- ARGV[5] how many dead records PostgreSQL keeps, "" if that did not change
-- ARGV[6...] source:partition, offset: for each partition of the batch the offset after its last
--         record that PostgreSQL has stored
--
-- Returns {trims now, records removed: all, or 0 if the tail is another batch because somebody else
-- has removed this one}.
-- Safe to repeat: the number of trims tells a removed batch from one with the same content.
-- Runs on a full Redis too (allow-oom), because it frees memory.

-- include numbers
-- include rights
local list_key, lane_key, stored_key = KEYS[1], KEYS[2], KEYS[3]
local size, oldest, newest, trims, parked = tonumber(ARGV[1]), unpack(ARGV, 2, 5)
local FIRST_PAIR = 6

local missing = missing_right('HSET', lane_key, 'f', 'v')
  or missing_right('HSET', stored_key, 'f', 'v') or missing_right('LTRIM', list_key, '0', '1')
if missing then return missing end
local trims_now = redis.call('HGET', lane_key, 'trims') or '0'
if trims_now ~= trims or redis.call('LINDEX', list_key, -1) ~= oldest
    or redis.call('LINDEX', list_key, -size) ~= newest then
  return {tonumber(trims_now), 0}
end
for i = FIRST_PAIR, #ARGV, 2 do
  redis.call('HSET', stored_key, ARGV[i], ARGV[i + 1])
end
if parked ~= '' then
  redis.call('HSET', lane_key, 'parked', parked)
end
local trims_after = whole(tonumber(trims_now) + 1)
redis.call('HSET', lane_key, 'trims', trims_after)
redis.call('LTRIM', list_key, 0, -size - 1)
return {tonumber(trims_after), size}
