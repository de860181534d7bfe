-- The part that all of an operator's acts share.
-- KEYS[1] set  ids of the loaded activities   KEYS[2] hash  lane   KEYS[3] hash  state
-- ARGV[1] activity id   ARGV[2] channel   ARGV[3] actor   ARGV[4] expected version, "" for any
-- ARGV[5] mark of this act's journal row (seckill/postgres/witness.py), "0" for none
-- Refused without any change: {-1} not loaded | {-2, version} the version has changed | {-5, why}
-- the lane is fenced | {-6} registered, but a part of it is missing.
local activities_key, lane_key, state_key = KEYS[1], KEYS[2], KEYS[3]
local activity_id, channel, actor, expected, journal = unpack(ARGV, 1, 5)
local NOT_LOADED, MOVED, TOO_MANY, NOT_ON_SALE, FENCED, TORN = -1, -2, -3, -4, -5, -6
-- Units that Lua counts exactly, even as a sum over a thousand items.
local MOST_UNITS = 1e15

local registered = redis.call('SISMEMBER', activities_key, activity_id) == 1
local seen = redis.call('HGET', state_key, 'version') or '0'

-- Why the act must be refused, or nil. `keys` are the hashes that it writes.
local function refusal(keys, needs_activity)
  local fenced = redis.call('HMGET', lane_key, 'fenced', 'fenced_why')
  if fenced[1] then
    return {FENCED, fenced[1] .. ': ' .. (fenced[2] or '')}
  end
  if needs_activity and not registered then
    return {NOT_LOADED}
  end
  if registered and seen == '0' then
    return {TORN}
  end
  if expected ~= '' and expected ~= seen then
    return {MOVED, tonumber(seen)}
  end
  for _, key in ipairs(keys) do
    local missing = missing_right('HSET', key, 'f', 'v') or missing_right('HDEL', key, 'f')
    if missing then return missing end
  end
  return missing_right('HSET', state_key, 'f', 'v') or missing_right('HDEL', state_key, 'f')
end

-- Whether a hash of a loaded activity is missing: what is left of it would become the allocation.
local function is_torn(keys)
  for _, key in ipairs(keys) do
    if registered and redis.call('EXISTS', key) == 0 then return true end
  end
  return false
end

-- The end of an act: journal row, version, publication. Returns the version. A failed PUBLISH must
-- not fail the act, because the act is done already.
local function conclude(command, members)
  local version = whole(tonumber(seen) + 1)
  redis.call('HSET', state_key, 'version', version)
  if journal ~= '0' then
    redis.call('HSET', state_key, 'journal', journal)
  end
  redis.pcall('PUBLISH', channel, '{"cmd":"' .. command .. '","activity_id":' .. activity_id
    .. members .. ',"actor":' .. cjson.encode(actor) .. ',"version":' .. version .. '}')
  return tonumber(version)
end
