#!lua flags=no-writes
-- check_rights: which commands this user may not run. Changes nothing.
--
-- KEYS    none: what is asked about stands in ARGV, and is not touched
-- ARGV[1] msgpack: {{command, argument, argument...}, ...}
--
-- Returns {the place in ARGV[1] of each that is missing}.
-- Safe to repeat.

local missing = {}
for place, command in ipairs(cmsgpack.unpack(ARGV[1])) do
  if not redis.acl_check_cmd(unpack(command)) then
    missing[#missing + 1] = place
  end
end
return missing
