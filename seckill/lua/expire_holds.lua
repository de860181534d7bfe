#!lua
-- expire_holds: expire the holds of one activity that nobody can have paid in time any more.
--
-- KEYS[1]  list  records not yet in PostgreSQL
-- KEYS[2]  set   ids of the loaded activities
-- KEYS[3]  hash  settle positions, source:partition -> next offset to settle
-- KEYS[4]  hash  read marks, source:partition of the settle topic -> a time of Redis in ms, such that
--                all that Kafka had acknowledged before is settled
-- KEYS[5]  hash  lane: identity, generation, clock, and the fence while there is one
-- KEYS[6...11]   the activity's state, stock, stats, buyers, held, due
-- KEYS[12...]    strings of the board, those in which the bytes of the holds to expire are
-- ARGV[1]  activity id
-- ARGV[2]  generation of the lane that the caller knows
-- ARGV[3]  identity of the lane that admitted the caller; "" if Redis held none then; "*": any
-- ARGV[4]  channel
-- ARGV[5]  grace: ms that a hold stays beyond its time
-- ARGV[6]  how many holds may expire in this call
-- ARGV[7]  "1": an expired hold counts against its user's limit no more. Its records say which:
--          member forgiven
-- ARGV[8]  msgpack: the fields of all partitions of the settle topic
-- ARGV[9]  msgpack: new marks, flat: field, time of Redis in ms at which the caller then asked for
--          the partition's end, that end. One is taken if all before its end is settled
-- ARGV[10...] names of the board's strings in KEYS[12...]: source:partition:number
--
-- A hold expires if it was due before every partition's mark, less the grace. So whoever had paid
-- in Kafka by then was settled first. A mark is missing: nothing expires. A mark that is later than
-- Redis's clock came from a wrong clock: it counts as missing, and is removed.
-- Blocks of holds expire in the order of their earliest hold; of each, the holds that are due.
-- Returns {status, expired, why, now in ms, generation, next due in ms or ""}. status: DECIDED 1 |
--          NOT_LOADED -2 | MOVED -3: another generation | FENCED -5 | UNSEEN -7: as decide_batch's.
--          Nothing was changed unless it is 1.
-- A block whose board's string is not among the KEYS stops the call: it is for the next one.
-- Safe to repeat. All rights, types and numbers are checked before the first write.

-- include numbers
-- include rights
-- include batch
-- include holds

local marks_key, FIRST_ACTIVITY_KEY, FIRST_BOARD_KEY, FIRST_BOARD_NAME = KEYS[4], 6, 12, 10
local activity_id, known_generation, known_identity, channel = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local grace, most, forgive = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local told = ',"forgiven":' .. tostring(forgive)
local partitions, offered = cmsgpack.unpack(ARGV[8]), cmsgpack.unpack(ARGV[9])

local refused = lane_refusal(known_identity, nil, 'settler')
if refused then return refused end
if generation ~= known_generation then
  return {MOVED, 0, '', 0, generation}
end
local activity, missing = read_activity(activity_id, FIRST_ACTIVITY_KEY)
if not activity then return fence(TORN, missing) end
if activity.missing then
  return {NOT_LOADED, 0, '', 0, generation}
end

local taken = {}
for i = 1, #offered, 3 do
  local field, asked, stop = offered[i], offered[i + 1], offered[i + 2]
  local position = tonumber(redis.call('HGET', positions_key, field) or 0)
  if position >= stop and asked <= clock_ms then taken[field] = asked end
end
local limit, wrong, written = clock_ms, {}, {}
for _, field in ipairs(partitions) do
  local mark = tonumber(redis.call('HGET', marks_key, field) or nil)
  if mark and mark > clock_ms then
    wrong[#wrong + 1], mark = field, nil
  end
  local new = taken[field]
  if new and new > (mark or -1) then
    written[#written + 1], written[#written + 2] = field, whole(new)
    mark = new
  end
  limit = math.min(limit, mark or -math.huge)
end

local boards = {}
for i = FIRST_BOARD_NAME, #ARGV do
  boards[ARGV[i]] = KEYS[FIRST_BOARD_KEY + i - FIRST_BOARD_NAME]
end
limit = math.min(limit - grace, clock_ms)
local expired = 0
if #partitions > 0 and limit > 0 then
  local names = redis.call('ZRANGEBYSCORE', activity.due_key, '-inf', '(' .. whole(limit),
    'LIMIT', 0, whole(most))
  for _, name in ipairs(names) do
    if expired == most then break end
    local block = read_block(activity, name)
    if block.text == '' then
      return fence(TORN, 'the holds ' .. name .. ' of activity ' .. activity_id .. ' are missing')
    end
    local field, number = string.match(name, '^(.*):(%d+)$')
    local first = tonumber(number or '') and number * BLOCK
    local board_key = first and boards[field .. ':' .. whole(math.floor(first / BOARD_STRING))]
    if not board_key then break end
    for nth, due in string.gmatch(block.text, ';(%d+)|(%d+)|') do
      if tonumber(due) < limit and expired < most then
        local offset = first + nth
        local at = {field = field, text = whole(offset), block = name}
        local _, user, items, rest = find_hold(block, ';' .. nth .. '|')
        if not user then return broken_block(activity, name) end
        missing = settle(activity, at, user, items, rest, EXPIRED, forgive, told)
        if missing then return fence(TORN, missing) end
        mark_board(board_key, offset, EXPIRED)
        expired = expired + 1
      end
    end
    if is_broken(block) then return broken_block(activity, name) end
    -- If nothing was due, its time is wrong: it is written anew.
    block.changed = true
  end
end

-- Now check whatever could make a later write fail: rights, types, numbers.
local broken = check_activity(activity)
if broken then return broken end
if #written > 0 then needs('HSET', marks_key, 'f', 'v') end
if #wrong > 0 then needs('HDEL', marks_key, 'f') end
if expired > 0 then
  redis.call('LLEN', list_key)
  needs('LPUSH', list_key, 'v')
  needs('HSET', lane_key, 'f', 'v')
end
missing = first_missing_right()
if missing then return missing end

-- Only writes from here on.
write_records()
write_activity(activity)
in_chunks('HDEL', marks_key, wrong)
in_chunks('HSET', marks_key, written)
if expired > 0 then keep_clock() end
local next_due = redis.call('ZRANGE', activity.due_key, 0, 0, 'WITHSCORES')[2]
publish_returned(channel, {activity})
return {DECIDED, expired, '', whole(now), generation, next_due or ''}
