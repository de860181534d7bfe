-- What decide_batch, settle_batch and expire_holds share: whether anything may be decided here and
-- now, and the checks before the first write.
-- KEYS[1] list  records   KEYS[2] set  ids of the loaded activities   KEYS[3] hash  positions of the
-- caller's topic   KEYS[5] hash  lane
local list_key, activities_key, positions_key, lane_key = KEYS[1], KEYS[2], KEYS[3], KEYS[5]

local DECIDED, DUPLICATE, REWOUND, NOT_LOADED = 1, 2, -1, -2
local MOVED, STALE, FENCED, CLOCK, UNSEEN = -3, -4, -5, -6, -7
-- Lua's unpack puts its values on a stack that is limited to about 8,000.
local CHUNK = 4000
-- Offsets in one string of the board, and in one block of holds.
local BOARD_STRING, BLOCK = 65536, 16
-- Ms by which the clocks of Redis and a caller may differ. Beyond that one of them is wrong, and
-- a wrong clock would refuse everybody as expired, or let a closed sale sell.
local CLOCK_BOUND = 60000
-- Ms between two writes of the highest time.
local CLOCK_STEP = 1000
-- The word of a fence when a part of the lane is missing.
local TORN = 'TORN'

local clock = redis.call('TIME')
local clock_ms = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local lane = redis.call('HMGET', lane_key, 'fenced', 'generation', 'fenced_why', 'identity', 'clock')
local generation = tonumber(lane[2] or 0)
-- Time never goes back within a lane.
local highest = tonumber(lane[5] or 0)
local now = math.max(clock_ms, highest)
local now_s = whole(math.floor(now / 1000))

-- Stop all decisions in this lane. The fence has no token, so only a recovery lifts it.
local function fence(word, why)
  local missing = missing_right('HSET', lane_key, 'f', 'v')
  if missing then return missing end
  redis.call('HSET', lane_key, 'fenced', word, 'fenced_at', whole(clock_ms), 'fenced_why', why,
    'fence_token', '')
  return {FENCED, 0, word .. ': ' .. why, 0, generation}
end

-- Why nothing may be decided in this lane by this caller, or nil.
local function lane_refusal(known_identity, callers_clock, who)
  if lane[1] then
    return {FENCED, 0, lane[1] .. ': ' .. (lane[3] or ''), 0, generation}
  end
  if redis.call('EXISTS', activities_key) == 0 then
    if redis.call('EXISTS', positions_key) == 1 then
      return fence(TORN, 'the set of loaded activities is missing, and there are positions')
    end
    return {NOT_LOADED, 0, '', 0, generation}
  end
  if known_identity ~= '*' and (lane[4] or '') ~= known_identity then
    if known_identity == '' then
      return {UNSEEN, 0, '', 0, generation}
    end
    if not lane[4] then
      return fence(TORN, 'the identity of the lane is missing: its key was evicted or deleted')
    end
    return {FENCED, 0, 'FOREIGN: this Redis holds lane ' .. lane[4] .. ', the ' .. who
      .. ' decides for lane ' .. known_identity, 0, generation}
  end
  if callers_clock and math.abs(clock_ms - callers_clock) > CLOCK_BOUND then
    local ahead = (clock_ms - callers_clock) / 1000
    return {CLOCK, 0, 'the clock of Redis is ' .. whole(math.abs(ahead)) .. ' s '
      .. (ahead > 0 and 'ahead of' or 'behind') .. ' the clock of this ' .. who, 0, generation}
  end
end

-- Why a batch may not be decided that begins at `from` in this generation, or nil. The second
-- value is the stored position, or nil.
local function batch_refusal(field, from, to, known_generation, who)
  local stored = tonumber(redis.call('HGET', positions_key, field) or nil)
  if generation > known_generation then
    return {MOVED, stored or -1, '', 0, generation}
  end
  if generation < known_generation or (stored or 0) < from then
    local refused = fence('REWOUND', 'partition ' .. field .. ' stands at '
      .. (stored and whole(stored) or 'no position') .. ' in generation ' .. generation
      .. ', a ' .. who .. ' has decided up to ' .. whole(from) .. ' in generation '
      .. known_generation)
    if refused.err then return refused end
    return {REWOUND, stored or 0, '', 0, generation}
  end
  if stored and stored >= to then
    return {DUPLICATE, stored, '', 0, generation}
  end
  return nil, stored
end

-- Whatever could make a later write fail is checked before the first one: rights, types, numbers.
local checks = {}
local function needs(command, key, ...)
  checks[#checks + 1] = {command, key, ...}
end

local function first_missing_right()
  for _, check in ipairs(checks) do
    local missing = missing_right(unpack(check))
    if missing then return missing end
  end
end

-- The fields of a hash with `added` added, as arguments of HSET; or nil, and the error reply.
local function raised(key, added)
  local fields, pairs_of = {}, {}
  for field, count in pairs(added) do
    if count ~= 0 then fields[#fields + 1] = tostring(field) end
  end
  if #fields == 0 then return pairs_of end
  needs('HSET', key, 'f', 'v')
  local known = redis.call('HMGET', key, unpack(fields))
  for place, field in ipairs(fields) do
    local before = tonumber(known[place] or 0)
    if not before then
      return nil, redis.error_reply('BROKEN field ' .. field .. ' of ' .. key .. ' is not a number: '
        .. 'another program has written it; nothing was decided')
    end
    pairs_of[2 * place - 1] = field
    pairs_of[2 * place] = whole(before + (added[field] or added[tonumber(field)]))
  end
  return pairs_of
end

-- Run a command on values of any number: `args` in whole pairs, if it takes pairs, after its `option`.
local function in_chunks(command, key, args, option)
  for first = 1, #args, CHUNK do
    local last = math.min(first + CHUNK - 1, #args)
    if option then
      redis.call(command, key, option, unpack(args, first, last))
    else
      redis.call(command, key, unpack(args, first, last))
    end
  end
end

local function keep_clock()
  if now >= highest + CLOCK_STEP then
    redis.call('HSET', lane_key, 'clock', whole(now))
  end
end
