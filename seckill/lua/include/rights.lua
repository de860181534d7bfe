-- Redis does not roll a script back. So each script checks all its rights before its first write: a
-- right missing in the middle would leave half of the writes behind, at every attempt.
-- Returns nil, or the error reply.
local function missing_right(command, ...)
  if redis.acl_check_cmd(command, ...) then return nil end
  local key = ...
  return redis.error_reply('NOPERM this user may not run ' .. command .. ' on ' .. tostring(key)
    .. ', which this script needs; nothing was changed')
end
