-- What settle_batch and expire_holds share: a hold is settled once, and leaves a record an item.
-- An activity's six keys: state, stock, stats, buyers, held, due. Include batch first.
local KEYS_AN_ACTIVITY = 6
local PAID, EXPIRED, CANCELLED = 'P', 'X', 'C'
local STATUS_OF = {[PAID] = 'paid', [EXPIRED] = 'expired', [CANCELLED] = 'cancelled'}
local records, board_writes = {}, {}

-- What the settling of an activity's holds needs; or nil, and which part of it is missing.
local function read_activity(id, first)
  local activity = {
    id = id, state_key = KEYS[first], stock_key = KEYS[first + 1], stats_key = KEYS[first + 2],
    buyers_key = KEYS[first + 3], held_key = KEYS[first + 4], due_key = KEYS[first + 5],
    blocks = {}, left = {}, returned = {}, bought = {}, added = {},
  }
  if redis.call('SISMEMBER', activities_key, id) == 0 then
    activity.missing, activity.version = true, '0'
    return activity
  end
  local state = redis.call('HMGET', activity.state_key, 'version', 'over', 'user_limit', 'epoch')
  if not state[1] then
    return nil, 'the state of activity ' .. id .. ' is missing'
  end
  if redis.call('HLEN', activity.held_key) ~= redis.call('ZCARD', activity.due_key) then
    return nil, 'the holds of activity ' .. id .. ' and their times differ'
  end
  activity.version, activity.over, activity.limited = state[1], state[2], state[3] ~= false
  activity.epoch = tonumber(state[4] or 0)
  return activity
end

local function count(activity, field, number)
  activity.added[field] = (activity.added[field] or 0) + number
end

-- A place in parts: field of its partition, offset as number and as text; its block, and how its hold
-- begins there.
local function parts_of(place)
  local field, text = string.match(place, '^(.*):(%d+)$')
  local offset = tonumber(text)
  local number = math.floor(offset / BLOCK)
  return {field = field, text = text, offset = offset, block = field .. ':' .. whole(number),
    head = ';' .. whole(offset - number * BLOCK) .. '|'}
end

-- The block of this name: {text, changed}. The text is "" if there are no holds.
local function read_block(activity, name)
  local block = activity.blocks[name]
  if not block then
    block = {text = redis.call('HGET', activity.held_key, name) or ''}
    activity.blocks[name] = block
  end
  return block
end

-- The hold that begins with `head`: due, user, items; and the block's text without it. Or nothing.
local function find_hold(block, head)
  local text = block.text
  local first, bar = string.find(text, head, 1, true)
  if not first then return nil end
  local last = (string.find(text, ';', bar, true) or #text + 1) - 1
  local due, user, items = string.match(string.sub(text, bar + 1, last), '^(%d+)|(%d+)|(%d+:%d+.*)$')
  return due, user, items, string.sub(text, 1, first - 1) .. string.sub(text, last + 1)
end

-- Whether another program has written this block.
local function is_broken(block)
  return block.text ~= '' and not string.find(block.text, '^;%d+|%d+|%d+|%d+:%d+')
end

local function broken_block(activity, name)
  return redis.error_reply('BROKEN the block of holds ' .. name .. ' in ' .. activity.held_key
    .. ' has none: another program has written it; nothing was settled')
end

-- The earliest time in a block, as number; nil if it has no holds.
local function earliest(text)
  local found
  for due in string.gmatch(text, ';%d+|(%d+)|') do
    local time = tonumber(due)
    if not found or time < found then found = time end
  end
  return found
end

-- The JSON members of a partition, from its field. Few partitions, so each is made once.
local origins = {}
local function origin_of(field)
  local made = origins[field]
  if not made then
    local source, partition = string.match(field, '^(.*):(%d+)$')
    made = ',"source":"' .. source .. '","partition":' .. partition .. ',"offset":'
    origins[field] = made
  end
  return made
end

-- One entry of the list about the hold at this place. `more` is JSON members, each with a comma.
local function record(activity, user, item, quantity, status, at, more)
  records[#records + 1] = '{"user_id":' .. user .. ',"activity_id":' .. activity.id
    .. ',"item_id":' .. item .. ',"quantity":' .. quantity .. ',"cost_ms":0,"status":"' .. status
    .. '","timestamp":' .. now_s .. origin_of(at.field) .. at.text .. more .. ',"version":'
    .. activity.version .. '}'
end

-- Put a unit back on sale. Returns nil, or what is missing.
local function give_back(activity, item, units)
  local left = activity.left[item] or tonumber(redis.call('HGET', activity.stock_key, item) or nil)
  if not left then
    return 'the stock of item ' .. item .. ' of activity ' .. activity.id .. ' is missing'
  end
  if left == 0 then activity.reopens = true end
  activity.left[item] = left + units
  activity.returned[item] = (activity.returned[item] or 0) + units
end

-- Settle a user's hold, which leaves its block at `rest`. `byte` is the board's from now on, `forgive`
-- whether its units count against the user's limit no more. Returns nil, or what is missing.
local function settle(activity, at, user, items, rest, byte, forgive, more)
  local settled = 0
  for item, quantity in string.gmatch(items, '(%d+):(%d+)') do
    local units = tonumber(quantity)
    settled = settled + units
    record(activity, user, item, quantity, STATUS_OF[byte], at, more)
    if byte ~= PAID then
      local missing = give_back(activity, item, units)
      if missing then return missing end
    end
  end
  if forgive and activity.limited then
    activity.bought[user] = (activity.bought[user] or 0) - settled
  end
  local block = activity.blocks[at.block]
  block.text, block.changed = rest, true
  count(activity, STATUS_OF[byte], 1)
  count(activity, 'held', -1)
  count(activity, byte == PAID and 'units_paid' or 'units_returned', settled)
end

-- Everything is settled. Check what could make a later write fail, for one activity. Returns nil,
-- or the error reply.
local function check_activity(activity)
  if activity.missing then return nil end
  local totals, broken = raised(activity.stats_key, activity.added)
  if not totals then return broken end
  activity.totals = totals
  activity.emptied, activity.texts, activity.times = {}, {}, {}
  for name, block in pairs(activity.blocks) do
    local due = block.changed and earliest(block.text)
    if due then
      local texts, times = activity.texts, activity.times
      texts[#texts + 1], texts[#texts + 2] = name, block.text
      times[#times + 1], times[#times + 2] = whole(due), name
    elseif block.changed then
      if block.text ~= '' then return broken_block(activity, name) end
      activity.emptied[#activity.emptied + 1] = name
    end
  end
  if #activity.emptied > 0 then
    needs('HDEL', activity.held_key, 'f')
    needs('ZREM', activity.due_key, 'v')
  end
  if #activity.texts > 0 then
    needs('HSET', activity.held_key, 'f', 'v')
    needs('ZADD', activity.due_key, '1', 'v')
  end
  if next(activity.left) then
    needs('HSET', activity.stock_key, 'f', 'v')
    needs('HSET', activity.state_key, 'f', 'v')
    needs('HDEL', activity.state_key, 'f')
  end
  for user, units in pairs(activity.bought) do
    -- Below 0 while the buyers are counted anew: the count, which is added, has these units.
    activity.bought[user] = units + tonumber(redis.call('HGET', activity.buyers_key, user) or 0)
    needs('HSET', activity.buyers_key, 'f', 'v')
    needs('HDEL', activity.buyers_key, 'f')
  end
end

-- Note which byte the board gets. Raises an error if the key is no string.
local function mark_board(key, offset, byte)
  if not board_writes[key] then
    redis.call('STRLEN', key)
    needs('SETRANGE', key, '0', 'v')
    board_writes[key] = {}
  end
  local writes = board_writes[key]
  writes[#writes + 1] = {math.fmod(offset, BOARD_STRING), byte}
end

-- Only writes from here on.
local function write_records()
  in_chunks('LPUSH', list_key, records)
  for key, writes in pairs(board_writes) do
    for _, write in ipairs(writes) do
      redis.call('SETRANGE', key, write[1], write[2])
    end
  end
end

local function write_activity(activity)
  if activity.missing then return end
  in_chunks('HDEL', activity.held_key, activity.emptied)
  in_chunks('ZREM', activity.due_key, activity.emptied)
  in_chunks('HSET', activity.held_key, activity.texts)
  in_chunks('ZADD', activity.due_key, activity.times)
  in_chunks('HSET', activity.stats_key, activity.totals)
  for item, units in pairs(activity.left) do
    redis.call('HSET', activity.stock_key, item, whole(units))
  end
  for user, units in pairs(activity.bought) do
    if units == 0 then
      redis.call('HDEL', activity.buyers_key, user)
    else
      redis.call('HSET', activity.buyers_key, user, whole(units))
    end
  end
  if next(activity.left) and activity.over == 'sold_out' then
    redis.call('HDEL', activity.state_key, 'over')
  end
  if activity.reopens then
    activity.epoch = activity.epoch + 1
    redis.call('HSET', activity.state_key, 'epoch', whole(activity.epoch))
  end
end

-- Tell whoever listens that units are back: the last thing, which cannot fail what is done.
local function publish_returned(channel, activities)
  local told = {}
  for _, activity in pairs(activities) do
    if next(activity.returned) then
      local items = {}
      for item, units in pairs(activity.returned) do
        items[#items + 1] = '"' .. item .. '":' .. whole(units)
      end
      told[#told + 1] = '"' .. activity.id .. '":{"epoch":' .. whole(activity.epoch)
        .. ',"items":{' .. table.concat(items, ',') .. '}}'
    end
  end
  if #told > 0 then
    redis.pcall('PUBLISH', channel,
      '{"cmd":"units_returned","activities":{' .. table.concat(told, ',') .. '}}')
  end
end
