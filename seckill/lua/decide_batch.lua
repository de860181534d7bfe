#!lua
-- decide_batch: decide one batch of one partition, exactly once: all of it or nothing.
--
-- KEYS[1]  list  records not yet in PostgreSQL
-- KEYS[2]  set   ids of the loaded activities
-- KEYS[3]  hash  positions, source:partition -> next offset to decide
-- KEYS[4]  hash  lane stats
-- KEYS[5]  hash  lane: identity, generation, clock, and the fence while there is one
-- KEYS[6...]     strings of the board, one for each number in ARGV[11]; then seven keys for each
--                activity in ARGV[12...]: state, stock, stats, buyers, clicks, held, due
-- ARGV[1]  field of this partition in the positions
-- ARGV[2]  from: the position that the consumer holds; all before it was decided in this lane
-- ARGV[3]  to: the position after this batch
-- ARGV[4]  generation of the lane in which the consumer got `from`
-- ARGV[5]  timeout in ms for activities that have none of their own; 0: never
-- ARGV[6]  JSON members that every record of this partition carries: "source":"...","partition":0
-- ARGV[7]  msgpack: the offsets from..to-1 in one flat array. Each entry begins with a number n:
--            0 < n < 1000  a request of n items: index into ARGV[12...], user (text), time in ms,
--                          request id (JSON text or ""), then n times item (text), quantity. If
--                          it is traced, {request id, traceparent} stands in the id's place
--            n == 0        an INVALID body
--            n < 0         -n offsets that hold no request (compacted, lost to retention, skipped)
--            n > 1000      n - 1000 requests that are in ARGV[8], as counts
-- ARGV[8]  msgpack, or "": certain losers, counted without their offsets, in one flat array. For
--          each activity: index, version, epoch, k, then k times: time in ms, requests with that
--          time. At that version and epoch each of them asks for an item that is gone, or the
--          activity was over
-- ARGV[9]  identity of the lane that admitted the consumer; "" if Redis held none then; "*": any
-- ARGV[10] the consumer's clock, ms; "" for none
-- ARGV[11] numbers of the board's strings in KEYS, with commas: offset div 65536
-- ARGV[12...] ids of the activities
--
-- Returns {status, position, outcomes, now in ms, generation, then for each activity: version,
--          epoch, over or "", items with nothing left (with commas; "" if over, or with a user
--          limit)}. An act raises the version. Units that come back without an act raise the epoch
-- status   DECIDED 1 | DUPLICATE 2: all of it was decided before
--          REWOUND -1: the stored position is missing or behind `from`: Redis is older than the
--            sale. This fences the lane: every later call returns FENCED until it is repaired
--          NOT_LOADED -2: nothing is loaded, and nothing ever was
--          MOVED -3: the lane was rebuilt since; go on at `position` (-1: there is none, stay)
--          STALE -4: the counts are for another version or epoch, or have no place; send all as requests
--          FENCED -5: `outcomes` is the reason in words. If a part of the lane is missing (an
--            evicted key), this call sets the fence
--          CLOCK -6: the clocks of Redis and the consumer differ too much: `outcomes` has the text
--          UNSEEN -7: Redis holds a lane now, but held none when the consumer was admitted
-- outcomes one byte for each request that is not in ARGV[8]: the outcome's digit, "." if it was
--          decided before: ACCEPTED 1 is "0"; OVER -1, SOLD_OUT -2, EXPIRED -3, LIMIT -4,
--          NOT_OPEN -5, UNKNOWN_ITEM -6, NO_SUCH_ACTIVITY -7, INVALID -8, REPEATED -9 are "1" to "9"
-- A request id makes a request a click. The clicks of an activity name each accepted one, and where
-- it was decided. A request that would be accepted is REPEATED if its user's click is there: no stock
-- moves. Refused clicks are not remembered: the buyer may try again with the same id.
-- An activity with `part` is a part of a sale over several lanes: "0/2" is the first of two. Each user is
-- served by one part, so that limits and clicks are exact. In another one it is NO_SUCH_ACTIVITY.
-- If the activity has `hold_s`, an accepted request is a hold until it is settled: `held` and `due`
-- say so from this call on, and its records say when it is due. See settle_batch and expire_holds.
-- The holds of 16 neighbouring offsets are one block: a field source:partition:(offset div 16) of
-- `held`, with ";<offset mod 16>|<due>|<user>|<item>:<n>|<item>:<n>..." for each. One field and one
-- time a hold would cost as much as all the rest of a decision.
-- The board has the same byte for each decided offset. "L" is a counted loser whose outcome only
-- the counters of its activity know. An offset without a request has no byte.
-- Time never goes back: opening, closing and records use the highest time that the lane has seen. A
-- request's age uses Redis's current clock.
-- Safe to repeat: a repeated call finds the position moved and changes nothing. All rights, types
-- and numbers are checked before the first write.

-- include numbers
-- include rights
-- include batch

local lane_stats_key = KEYS[4]
local position_field = ARGV[1]
local from, to, known_generation = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local default_timeout, origin = tonumber(ARGV[5]), ARGV[6]
local packed_requests, packed_losers = ARGV[7], ARGV[8]
local known_identity, consumer_clock, board_numbers = ARGV[9], tonumber(ARGV[10]), ARGV[11]
local FIRST_BOARD_KEY, KEYS_AN_ACTIVITY, FIRST_ACTIVITY_ID = 6, 7, 12

local ACCEPTED, OVER, SOLD_OUT, EXPIRED, LIMIT = 1, -1, -2, -3, -4
local NOT_OPEN, UNKNOWN_ITEM, NO_SUCH_ACTIVITY, INVALID, REPEATED = -5, -6, -7, -8, -9
local DIGIT = {
  [ACCEPTED] = '0', [OVER] = '1', [SOLD_OUT] = '2', [EXPIRED] = '3', [LIMIT] = '4',
  [NOT_OPEN] = '5', [UNKNOWN_ITEM] = '6', [NO_SUCH_ACTIVITY] = '7', [INVALID] = '8', [REPEATED] = '9',
}
-- The field of buyers and clicks that shows a loss.
local MARK = ''

-- An entry above this is COUNTED plus a number of requests that are counted in ARGV[8].
local COUNTED = 1000

local refused, stored = lane_refusal(known_identity, consumer_clock, 'consumer')
if refused then return refused end
refused, stored = batch_refusal(position_field, from, to, known_generation, 'consumer')
if refused then return refused end
if packed_losers ~= '' and stored and stored > from then
  return {STALE, stored, '', 0, generation}
end
local record_middle = ',"status":"success","timestamp":' .. now_s .. ',' .. origin .. ',"offset":'

local boards, first_activity_key = {}, FIRST_BOARD_KEY
for number in string.gmatch(board_numbers, '%d+') do
  boards[tonumber(number)] = KEYS[first_activity_key]
  first_activity_key = first_activity_key + 1
end

-- The state of an activity for this batch; or nil, and which part of it is missing.
local function read_activity(index)
  local id = ARGV[FIRST_ACTIVITY_ID + index - 1]
  local first = first_activity_key + (index - 1) * KEYS_AN_ACTIVITY
  local activity = {
    id = id, state_key = KEYS[first], stock_key = KEYS[first + 1],
    stats_key = KEYS[first + 2], buyers_key = KEYS[first + 3], clicks_key = KEYS[first + 4],
    held_key = KEYS[first + 5], due_key = KEYS[first + 6],
    counts = {}, costs = {}, units = 0, records = 0, expired_with_stock = 0,
  }
  if redis.call('SISMEMBER', activities_key, id) == 0 then
    activity.missing = true
    return activity
  end
  local state = redis.call('HMGET', activity.state_key,
    'version', 'over', 'opens_at', 'closes_at', 'user_limit', 'timeout', 'paused', 'clicks',
    'epoch', 'hold_s', 'part')
  local stock = redis.call('HGETALL', activity.stock_key)
  if not state[1] or #stock == 0 then
    return nil, 'the ' .. (state[1] and 'stock' or 'state') .. ' of activity ' .. id .. ' is missing'
  end
  activity.version, activity.over, activity.epoch = state[1], state[2], state[9] or '0'
  local opens_at, closes_at = tonumber(state[3] or nil), tonumber(state[4] or nil)
  activity.closed = state[7] ~= false
    or (opens_at ~= nil and now < opens_at) or (closes_at ~= nil and now >= closes_at)
  activity.user_limit = tonumber(state[5] or nil)
  if activity.user_limit and redis.call('HEXISTS', activity.buyers_key, MARK) == 0 then
    return nil, 'the buyers of activity ' .. id .. ' are missing, and it has a limit per user'
  end
  if state[8] and redis.call('HEXISTS', activity.clicks_key, MARK) == 0 then
    return nil, 'the clicks of activity ' .. id .. ' are missing: a repeated one would buy again'
  end
  local timeout = tonumber(state[6] or nil) or default_timeout
  activity.timeout = timeout > 0 and timeout or math.huge
  activity.tail = ',"version":' .. activity.version .. '}'
  local hold_s = tonumber(state[10] or nil)
  if hold_s then
    activity.due = whole(now + hold_s * 1000)
    -- How a hold begins, by its place in the block, counted from the block's end.
    activity.hold_head, activity.item_part = {}, {}
    for nth = 0, BLOCK - 1 do
      activity.hold_head[nth - BLOCK] = ';' .. nth .. '|' .. activity.due .. '|'
    end
    -- The block that is being filled, in pieces (`pieces` of them: Lua would search for the length),
    -- and the offset after it; then all blocks of this batch: field, text...; time, field...
    activity.block, activity.pieces, activity.block_end = {}, 0, -1
    activity.blocks, activity.times, activity.size, activity.holds = {}, {}, 0, 0
    activity.tail = ',"due":' .. activity.due .. activity.tail
  end
  if state[11] then
    local part, parts = string.match(state[11], '^(%d+)/(%d+)$')
    activity.part, activity.parts = tonumber(part), tonumber(parts)
  end
  local left, total = {}, 0
  for i = 1, #stock, 2 do
    local units = tonumber(stock[i + 1])
    left[stock[i]], total = units, total + units
  end
  activity.left, activity.total, activity.head = left, total, {}
  activity.changed = {}
  activity.bought, activity.bought_changed = {}, {}
  activity.clicked = {}
  return activity
end

-- Whether another part of the sale serves this user: the hash of seckill/formats/parts.py. A user's
-- number may be longer than Lua counts exactly, so it comes in two pieces.
local PRIME, SPREAD, PIECE = 999983, 618023, 1000000000
local function is_elsewhere(activity, user)
  local high, low = tonumber(string.sub(user, 1, -10)) or 0, tonumber(string.sub(user, -9))
  local rest = (high % PRIME * (PIECE % PRIME) + low) % PRIME
  return math.floor(rest * SPREAD % PRIME * activity.parts / PRIME) ~= activity.part
end

-- Units that a user has bought so far, including this batch.
local function units_bought(activity, user)
  local units = activity.bought[user]
  if not units then
    units = tonumber(redis.call('HGET', activity.buyers_key, user) or 0)
    activity.bought[user] = units
  end
  return units
end

-- Whether this click of this user was accepted before, in this batch or earlier.
local function is_repeated(activity, click)
  return activity.clicked[click] or redis.call('HEXISTS', activity.clicks_key, click) == 1
end

-- Count requests that have the same outcome and the same age.
local function count(activity, outcome, cost, requests)
  activity.costs[cost] = (activity.costs[cost] or 0) + requests
  activity.counts[outcome] = (activity.counts[outcome] or 0) + requests
end

-- The text of a small whole number, cached: Lua formats it with printf, which takes longer than the
-- rest of a record, and few numbers differ within a batch.
local text = {}
local function remember(number)
  local made = string.format('%.0f', number)
  text[number] = made
  return made
end

-- End the block that is being filled. Of all blocks of a batch only the first one may be there: each
-- hold of this partition in Redis is before first_new, and so before every hold of this batch.
local function end_block(activity)
  if activity.pieces > 0 then
    local size, block = activity.size, table.concat(activity.block, '', 1, activity.pieces)
    local name = position_field .. ':' .. whole(activity.block_end / BLOCK - 1)
    if size == 0 then
      block = (redis.call('HGET', activity.held_key, name) or '') .. block
    end
    activity.blocks[size + 1], activity.blocks[size + 2] = name, block
    activity.times[size + 1], activity.times[size + 2] = activity.due, name
    activity.size = size + 2
  end
end

-- A hold's part about so many units of an item, cached.
local function make_item_part(activity, item, quantity, units)
  local parts = activity.item_part[item]
  if not parts then
    parts = {}
    activity.item_part[item] = parts
  end
  parts[quantity] = '|' .. item .. ':' .. units
  return parts[quantity]
end

-- Begin the block of this offset.
local function begin_block(activity, offset)
  end_block(activity)
  activity.pieces, activity.block_end = 0, (math.floor(offset / BLOCK) + 1) * BLOCK
end

local requests = cmsgpack.unpack(packed_requests)
local activities, outcomes, records = {}, {}, {}
local answered, recorded, counted = 0, 0, 0
-- Spans for the board: {first offset, outcomes}, or {first offset, nil, number of counted losers}.
local spans, spanned = {}, 0
-- End the current span at this offset: it has everything that was answered since the last cut.
local function cut(at)
  if answered > spanned then
    spans[#spans + 1] = {at - (answered - spanned), table.concat(outcomes, '', spanned + 1, answered)}
    spanned = answered
  end
end
local invalid, no_such_activity = 0, 0
local first_new = stored or 0
local skipped, offset, i, size = 0, from, 1, #requests

while i <= size do
  local n = requests[i]
  if n > COUNTED then
    cut(offset)
    spans[#spans + 1] = {offset, nil, n - COUNTED}
    counted = counted + n - COUNTED
    offset, i = offset + n - COUNTED, i + 1
  elseif n > 0 then
    local last = i + 4 + 2 * n
    answered = answered + 1
    if offset < first_new then
      outcomes[answered] = '.'
    else
      local index, user, at = requests[i + 1], requests[i + 2], requests[i + 3]
      local activity = activities[index]
      if activity == nil then
        local missing
        activity, missing = read_activity(index)
        if not activity then
          return fence(TORN, missing)
        end
        activities[index] = activity
      end
      local outcome
      if activity.missing or (activity.parts and is_elsewhere(activity, user)) then
        outcome = NO_SUCH_ACTIVITY
        no_such_activity = no_such_activity + 1
      else
        local cost = clock_ms - at
        if cost < 0 then cost = 0 end
        if cost > activity.timeout then
          outcome = EXPIRED
          if activity.total > 0 and not activity.over then
            activity.expired_with_stock = activity.expired_with_stock + 1
          end
        elseif activity.over then
          outcome = OVER
        elseif activity.closed then
          outcome = NOT_OPEN
        else
          local left = activity.left
          local wanted, enough = 0, true
          for j = i + 5, last, 2 do
            local units, quantity = left[requests[j]], requests[j + 1]
            if not units then
              outcome = UNKNOWN_ITEM
              break
            end
            wanted = wanted + quantity
            if units < quantity then enough = false end
          end
          local user_limit, request_id, trace, click = activity.user_limit, requests[i + 4], nil, nil
          if type(request_id) == 'table' then request_id, trace = unpack(request_id, 1, 2) end
          if not outcome then
            if request_id ~= '' then click = user .. ':' .. request_id end
            if user_limit and units_bought(activity, user) + wanted > user_limit then
              outcome = LIMIT
            elseif not enough then
              outcome = SOLD_OUT
            elseif click and is_repeated(activity, click) then
              outcome = REPEATED
            end
          end
          if not outcome then
            outcome = ACCEPTED
            -- Not by '..': Lua takes longer for it, and writes a large number with an exponent.
            local holds, place = activity.holds, string.format('%d', offset)
            local tail = activity.tail
            if trace then tail = ',"trace":"' .. trace .. '"' .. tail end
            if click then
              activity.clicked[click] = position_field .. ':' .. place
              tail = ',"request_id":' .. request_id .. tail
            end
            local age = text[cost] or remember(cost)
            local block, at
            if holds then
              if offset >= activity.block_end then begin_block(activity, offset) end
              block, at = activity.block, activity.pieces + 2
              block[at - 1], block[at] = activity.hold_head[offset - activity.block_end], user
            end
            for j = i + 5, last, 2 do
              local item, quantity = requests[j], requests[j + 1]
              left[item] = left[item] - quantity
              activity.changed[item] = true
              recorded = recorded + 1
              local head = activity.head[item]
              if not head then
                head = ',"activity_id":' .. activity.id .. ',"item_id":' .. item .. ',"quantity":'
                activity.head[item] = head
              end
              local units = text[quantity] or remember(quantity)
              records[recorded] = '{"user_id":' .. user .. head .. units
                .. ',"cost_ms":' .. age .. record_middle .. place .. tail
              if holds then
                at = at + 1
                local parts = activity.item_part[item]
                block[at] = parts and parts[quantity]
                  or make_item_part(activity, item, quantity, units)
              end
            end
            if holds then
              activity.pieces, activity.holds = at, holds + 1
            end
            activity.records = activity.records + n
            activity.units = activity.units + wanted
            activity.total = activity.total - wanted
            if activity.total == 0 then
              activity.over, activity.sold_out = 'sold_out', true
            end
            if user_limit then
              activity.bought[user] = activity.bought[user] + wanted
              activity.bought_changed[user] = true
            end
          end
        end
        count(activity, outcome, cost, 1)
      end
      outcomes[answered] = DIGIT[outcome]
    end
    offset, i = offset + 1, last + 1
  elseif n == 0 then
    answered = answered + 1
    if offset < first_new then
      outcomes[answered] = '.'
    else
      outcomes[answered] = DIGIT[INVALID]
      invalid = invalid + 1
    end
    offset, i = offset + 1, i + 1
  else
    cut(offset)
    local hole_end = offset - n
    if hole_end > first_new then
      skipped = skipped + hole_end - math.max(offset, first_new)
    end
    offset, i = hole_end, i + 1
  end
end
cut(offset)
if offset ~= to then
  return redis.error_reply('BADBATCH the requests end at ' .. offset .. ', not at ' .. ARGV[3])
end

-- The counted losers. They are exact if version and epoch are still those that they were counted
-- for, and if the activity did not end within this batch: otherwise offsets would decide between
-- SOLD_OUT and OVER.
local loser_byte = nil
if packed_losers ~= '' then
  local losers = cmsgpack.unpack(packed_losers)
  local at = 1
  while at <= #losers do
    local index, version, epoch, groups = unpack(losers, at, at + 3)
    local activity = activities[index]
    if activity == nil then
      local missing
      activity, missing = read_activity(index)
      if not activity then
        return fence(TORN, missing)
      end
      activities[index] = activity
    end
    if activity.missing or tonumber(activity.version) ~= version
      or tonumber(activity.epoch) ~= epoch or activity.sold_out then
      return {STALE, stored or 0, '', 0, generation}
    end
    local refused = activity.over and OVER or activity.closed and NOT_OPEN or SOLD_OUT
    loser_byte = loser_byte and 'L' or DIGIT[refused]
    for j = at + 4, at + 2 + 2 * groups, 2 do
      local cost = math.max(0, clock_ms - losers[j])
      local number = losers[j + 1]
      counted = counted - number
      if cost > activity.timeout then
        if not activity.over then
          activity.expired_with_stock = activity.expired_with_stock + number
        end
        count(activity, EXPIRED, cost, number)
        loser_byte = 'L'
      else
        count(activity, refused, cost, number)
      end
    end
    at = at + 4 + 2 * groups
  end
end
if counted ~= 0 then
  return redis.error_reply('BADBATCH the counted requests are off by ' .. counted)
end

-- The lower bound of a latency's bucket: eight buckets per doubling, exact below 16 ms.
local function bucket(cost)
  if cost < 16 then return cost end
  local _, exponent = math.frexp(cost)
  local step = 2 ^ (exponent - 4)
  return math.floor(cost / step) * step
end

-- Everything is decided. Now check whatever could make a later write fail: rights, types, numbers.
local totals = {}
for index, activity in pairs(activities) do
  if not activity.missing then
    local added = {units = activity.units, records = activity.records,
      expired_with_stock = activity.expired_with_stock, held = activity.due and activity.holds}
    for outcome, requests_of in pairs(activity.counts) do
      added[outcome] = requests_of
    end
    for cost, requests_of in pairs(activity.costs) do
      local field = 'ms:' .. bucket(cost)
      added[field] = (added[field] or 0) + requests_of
    end
    local pairs_of, broken = raised(activity.stats_key, added)
    if not pairs_of then return broken end
    totals[index] = pairs_of
    if next(activity.changed) then needs('HSET', activity.stock_key, 'f', 'v') end
    if next(activity.bought_changed) then needs('HSET', activity.buyers_key, 'f', 'v') end
    if next(activity.clicked) then needs('HSET', activity.clicks_key, 'f', 'v') end
    if activity.sold_out then needs('HSET', activity.state_key, 'f', 'v') end
    if activity.due and activity.holds > 0 then
      if redis.call('HLEN', activity.held_key) ~= redis.call('ZCARD', activity.due_key) then
        return fence(TORN, 'the holds of activity ' .. activity.id .. ' and their times differ')
      end
      end_block(activity)
      needs('HSET', activity.held_key, 'f', 'v')
      needs('ZADD', activity.due_key, 'LT', '0', 'v')
    end
  end
end
local lane_totals, broken = raised(lane_stats_key,
  {[INVALID] = invalid, [NO_SUCH_ACTIVITY] = no_such_activity, skipped = skipped})
if not lane_totals then return broken end
needs('HSET', positions_key, 'f', 'v')
needs('HSET', lane_key, 'f', 'v')
if recorded > 0 then
  redis.call('LLEN', list_key)
  needs('LPUSH', list_key, 'v')
end
for _, key in pairs(boards) do
  redis.call('STRLEN', key)
  needs('SETRANGE', key, '0', 'v')
end
local missing = first_missing_right()
if missing then return missing end

-- Only writes from here on.

-- Write the changed fields in calls that fit on Lua's stack.
local function write_hash(key, changed, values)
  local args, size_of = {}, 0
  for field in pairs(changed) do
    local value = values[field]
    if type(value) == 'number' then value = text[value] or remember(value) end
    args[size_of + 1], args[size_of + 2] = field, value
    size_of = size_of + 2
    if size_of == CHUNK then
      redis.call('HSET', key, unpack(args, 1, size_of))
      size_of = 0
    end
  end
  if size_of > 0 then
    redis.call('HSET', key, unpack(args, 1, size_of))
  end
end

local function write_board(first, bytes)
  if first < first_new then
    bytes, first = string.sub(bytes, first_new - first + 1), first_new
  end
  while bytes ~= '' do
    local number = math.floor(first / BOARD_STRING)
    local place = first - number * BOARD_STRING
    local part = string.sub(bytes, 1, BOARD_STRING - place)
    redis.call('SETRANGE', boards[number], place, part)
    bytes, first = string.sub(bytes, #part + 1), first + #part
  end
end

in_chunks('LPUSH', list_key, records)
for _, span in ipairs(spans) do
  write_board(span[1], span[2] or string.rep(loser_byte, span[3]))
end

local reply = {DECIDED, to, table.concat(outcomes), whole(now), generation}
for index = 1, #ARGV - FIRST_ACTIVITY_ID + 1 do
  local activity = activities[index]
  if activity and not activity.missing then
    redis.call('HSET', activity.stats_key, unpack(totals[index]))
    write_hash(activity.stock_key, activity.changed, activity.left)
    write_hash(activity.buyers_key, activity.bought_changed, activity.bought)
    write_hash(activity.clicks_key, activity.clicked, activity.clicked)
    if activity.sold_out then
      redis.call('HSET', activity.state_key, 'over', 'sold_out')
    end
    if activity.due then
      in_chunks('HSET', activity.held_key, activity.blocks)
      -- The first block may be due earlier, if it was there and `hold_s` was changed.
      in_chunks('ZADD', activity.due_key, activity.times, 'LT')
    end
    local gone = {}
    if not activity.over and not activity.user_limit then
      for item, units in pairs(activity.left) do
        if units == 0 then gone[#gone + 1] = item end
      end
    end
    reply[#reply + 1] = activity.version
    reply[#reply + 1] = activity.epoch
    reply[#reply + 1] = activity.over or ''
    reply[#reply + 1] = table.concat(gone, ',')
  else
    for _ = 1, 4 do reply[#reply + 1] = '' end
  end
end

if #lane_totals > 0 then
  redis.call('HSET', lane_stats_key, unpack(lane_totals))
end
keep_clock()
redis.call('HSET', positions_key, position_field, ARGV[3])
return reply
