#!lua
-- configure: change fields of a loaded activity's state: window, limit per user, timeout, hold.
--
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash lane   KEYS[3] hash state
-- KEYS[4] hash buyers   KEYS[5] hash positions   KEYS[6] hash new buyers, see stage_hash
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] mark of this act's journal row, "0" for none
-- ARGV[6] the buyers: "keep" them, "forget" them, or "count" them from now on
-- ARGV[7] token of new buyers, whose units are added to the current ones; "" for none
-- ARGV[8...] field, value, field, value... of the state; "" removes the field
--
-- Returns {version, {positions as field, value...}}, or what include/act.lua returns. It also
-- returns {-2, version} if somebody else has recounted the buyers meanwhile.
-- Safe to repeat; each call increments the version.

-- include numbers
-- include rights
-- include act
-- include staged
local buyers_key, positions_key, new_buyers_key = unpack(KEYS, 4, 6)
local buyers, token = ARGV[6], ARGV[7]
local FIRST_PAIR = 8

local refused = refusal({new_buyers_key, buyers_key}, true)
  or missing_right('UNLINK', buyers_key) or missing_right('RENAME', new_buyers_key, buyers_key)
if refused then return refused end
if token ~= '' and not is_staged(new_buyers_key, token) then
  return {MOVED, tonumber(seen)}
end
-- Buyers since the recount began. They are few, so they are added to the recounted ones.
local since = token ~= '' and redis.call('HGETALL', buyers_key) or {}

local changed = {}
for i = FIRST_PAIR, #ARGV, 2 do
  changed[ARGV[i]] = ARGV[i + 1]
  if ARGV[i + 1] == '' then
    redis.call('HDEL', state_key, ARGV[i])
  else
    redis.call('HSET', state_key, ARGV[i], ARGV[i + 1])
  end
end
if buyers ~= 'keep' then
  redis.call('UNLINK', buyers_key)
end
if buyers == 'count' then
  redis.call('HSET', buyers_key, STAGED_TOKEN, MARK)
end
if token ~= '' then
  take_in_buyers(new_buyers_key, buyers_key, since)
end
return {conclude('configure', ',"state":' .. cjson.encode(changed)),
  redis.call('HGETALL', positions_key)}
