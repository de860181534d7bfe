#!lua
-- settle_batch: settle one batch of one partition of the settle topic, exactly once: all of it up
-- to the first message that has to wait, or nothing.
--
-- KEYS[1]  list  records not yet in PostgreSQL
-- KEYS[2]  set   ids of the loaded activities
-- KEYS[3]  hash  settle positions, source:partition -> next offset to settle
-- KEYS[4]  hash  settle stats
-- KEYS[5]  hash  lane: identity, generation, clock, and the fence while there is one
-- KEYS[6]  hash  positions of the requests
-- KEYS[7...]     six keys for each activity in ARGV[10...]: state, stock, stats, buyers, held, due;
--                then strings of the board, those in which the holds' bytes are
-- ARGV[1]  field of this partition in the settle positions
-- ARGV[2]  from: the position that the settler holds; all before it was settled in this lane
-- ARGV[3]  to: the position after this batch
-- ARGV[4]  generation of the lane in which the settler got `from`
-- ARGV[5]  JSON values that begin `settled_by` of each record: "source",partition
-- ARGV[6]  identity of the lane that admitted the settler; "" if Redis held none then; "*": any
-- ARGV[7]  the settler's clock, ms; "" for none
-- ARGV[8]  channel
-- ARGV[9]  msgpack: the offsets from..to-1 in one flat array. Each entry begins with a number n:
--            n == 1  a settlement: index into ARGV[10...], user (text), place of the hold
--                    (source:partition:offset), number of its board's string among the last KEYS,
--                    1 paid or 2 released, reference (JSON text or ""), 1 if its request is lost:
--                    Kafka's end is not beyond it; or 0
--            n == 0  an INVALID body
--            n < 0   -n offsets that hold no message (compacted, lost to retention, skipped)
-- ARGV[10...] ids of the activities
--
-- Returns {status, position, outcomes, now in ms, generation}. status: as decide_batch's, but for
-- STALE.
-- outcomes one byte for each message, "." if it was settled before. First what is found, then paid,
-- then released:
--          held by this user            P PAID                          C RELEASED: units back
--          the request is not decided   W WAIT; N NOT_HELD if it is lost (both)
--          the board has P              9 REPEATED                      T TOO_LATE
--          the board has X or C         T TOO_LATE, with a record       9 REPEATED
--          anything else                N NOT_HELD (both)
--          an INVALID body is 8
-- With a WAIT the batch ends before it: outcomes end with W, and the position is that message's.
-- Released units are on sale in the same call. A sold-out activity opens, a finished one stays
-- finished. The epoch is raised if an item had none left, so nobody counts losers that are none.
-- Safe to repeat: a repeated call finds the position moved and changes nothing. All rights, types
-- and numbers are checked before the first write.

-- include numbers
-- include rights
-- include batch
-- include holds

local settle_stats_key, request_positions_key = KEYS[4], KEYS[6]
local position_field = ARGV[1]
local from, to, known_generation = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local origin, known_identity, settlers_clock, channel = ARGV[5], ARGV[6], tonumber(ARGV[7]), ARGV[8]
local FIRST_ACTIVITY_KEY, FIRST_ACTIVITY_ID, VALUES = 7, 10, 8
local first_board_key = FIRST_ACTIVITY_KEY + (#ARGV - FIRST_ACTIVITY_ID + 1) * KEYS_AN_ACTIVITY

local TOO_LATE, REPEATED, NOT_HELD, INVALID, WAIT = 'T', '9', 'N', '8', 'W'
local IS_PAID = 1
local COUNTER = {
  [PAID] = 'paid', [CANCELLED] = 'released', [TOO_LATE] = 'too_late', [REPEATED] = 'repeated',
  [NOT_HELD] = 'not_held', [INVALID] = 'invalid',
}

local refused, stored = lane_refusal(known_identity, settlers_clock, 'settler')
if refused then return refused end
refused, stored = batch_refusal(position_field, from, to, known_generation, 'settler')
if refused then return refused end

local activities, settled, request_positions = {}, {}, {}

-- The position of the partition of a request.
local function decided_up_to(field)
  local position = request_positions[field]
  if not position then
    position = tonumber(redis.call('HGET', request_positions_key, field) or 0)
    request_positions[field] = position
  end
  return position
end

-- The outcome of one settlement; or nil, and what is missing in Redis.
local function outcome_of(message, index, user, place, board, result, reference, lost)
  local activity, byte, at = activities[index], settled[place], parts_of(place)
  local board_key = KEYS[first_board_key + board - 1]
  local more = ',"settled_by":[' .. origin .. ',' .. whole(message) .. ']'
  if reference ~= '' then more = more .. ',"reference":' .. reference end

  if not byte and not activity.missing then
    local block = read_block(activity, at.block)
    local _, owner, items, rest = find_hold(block, at.head)
    if owner == user then
      byte = result == IS_PAID and PAID or CANCELLED
      local missing = settle(activity, at, user, items, rest, byte, byte == CANCELLED, more)
      if missing then return nil, missing end
      settled[place] = byte
      mark_board(board_key, at.offset, byte)
      return byte
    end
    if owner then return NOT_HELD end
    if rest or is_broken(block) then return broken_block(activity, at.block) end
  end
  if not byte then
    if at.offset >= decided_up_to(at.field) then return lost == 1 and NOT_HELD or WAIT end
    local index_in_string = math.fmod(at.offset, BOARD_STRING)
    byte = redis.call('GETRANGE', board_key, index_in_string, index_in_string)
  end
  if byte == PAID then
    return result == IS_PAID and REPEATED or TOO_LATE
  end
  if byte == EXPIRED or byte == CANCELLED then
    if result ~= IS_PAID then return REPEATED end
    record(activity, user, '0', '0', 'too_late', at, more)
    count(activity, 'too_late', 1)
    return TOO_LATE
  end
  return NOT_HELD
end

local messages = cmsgpack.unpack(ARGV[9])

for index = 1, #ARGV - FIRST_ACTIVITY_ID + 1 do
  local activity, missing = read_activity(ARGV[FIRST_ACTIVITY_ID + index - 1],
    FIRST_ACTIVITY_KEY + (index - 1) * KEYS_AN_ACTIVITY)
  if not activity then return fence(TORN, missing) end
  activities[index] = activity
end

local outcomes, added, waits = {}, {skipped = 0}, false
local first_new = stored or 0
local offset, i, size = from, 1, #messages
while i <= size do
  local n = messages[i]
  if n < 0 then
    if offset - n > first_new then
      added.skipped = added.skipped + offset - n - math.max(offset, first_new)
    end
    offset, i = offset - n, i + 1
  else
    local outcome, missing = '.', nil
    if offset >= first_new then
      outcome = INVALID
      if n > 0 then
        outcome, missing = outcome_of(offset, unpack(messages, i + 1, i + VALUES - 1))
        if missing then return fence(TORN, missing) end
        if type(outcome) == 'table' then return outcome end
      end
    end
    outcomes[#outcomes + 1] = outcome
    if outcome == WAIT then
      waits, to = true, offset
      break
    end
    local counter = COUNTER[outcome]
    if counter then added[counter] = (added[counter] or 0) + 1 end
    offset, i = offset + 1, i + (n == 0 and 1 or VALUES)
  end
end
if offset ~= to then
  return redis.error_reply('BADBATCH the messages end at ' .. offset .. ', not at ' .. ARGV[3])
end
local reply = {DECIDED, to, table.concat(outcomes), whole(now), generation}
if waits and to == first_new then return reply end

-- Everything is settled. Now check whatever could make a later write fail: rights, types, numbers.
for _, activity in pairs(activities) do
  local broken = check_activity(activity)
  if broken then return broken end
end
local totals, broken = raised(settle_stats_key, added)
if not totals then return broken end
needs('HSET', positions_key, 'f', 'v')
needs('HSET', lane_key, 'f', 'v')
if #records > 0 then
  redis.call('LLEN', list_key)
  needs('LPUSH', list_key, 'v')
end
local missing = first_missing_right()
if missing then return missing end

-- Only writes from here on.
write_records()
for _, activity in pairs(activities) do write_activity(activity) end
in_chunks('HSET', settle_stats_key, totals)
keep_clock()
redis.call('HSET', positions_key, position_field, whole(to))
publish_returned(channel, activities)
return reply
