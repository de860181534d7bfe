-- The baseline's script: one request a call, as the program of arch_cn.md decides.
-- KEYS: stock hash, list of records. ARGV: user, time in ms, then item, quantity for each item.
-- Returns 1 accepted, 0 sold out.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
for i = 3, #ARGV, 2 do
  local left = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0')
  if left < tonumber(ARGV[i + 1]) then return 0 end
end
for i = 3, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[i], -ARGV[i + 1])
  redis.call('LPUSH', KEYS[2], '{"user_id":' .. ARGV[1] .. ',"activity_id":1,"item_id":' .. ARGV[i]
    .. ',"quantity":' .. ARGV[i + 1] .. ',"cost_ms":' .. (now - tonumber(ARGV[2]))
    .. ',"status":"success","timestamp":' .. clock[1] .. '}')
end
return 1
