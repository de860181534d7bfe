#!lua flags=no-writes
-- check_rights: which commands the current user may not run. Changes nothing.
--
-- KEYS    none: the keys to check are in ARGV; none of them is accessed
-- ARGV[1] msgpack: {{command, argument, argument...}, ...}
--
-- Returns the places in ARGV[1] of the commands that are not allowed.
-- Safe to repeat.

local missing = {}
for place, command in ipairs(cmsgpack.unpack(ARGV[1])) do
  if not redis.acl_check_cmd(unpack(command)) then
    missing[#missing + 1] = place
  end
end
return missing
