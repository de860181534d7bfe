#!lua flags=no-writes
-- read_together: run several reading commands at one moment, on a full Redis too.
--
-- MULTI would do the same, but Redis (unlike Valkey) accepts no command in a transaction while its
-- memory is full, not even a read.
--
-- KEYS    the keys that are read
-- ARGV[1] msgpack: {{command, argument, argument...}, ...}
--
-- Returns the answers in that order. A hash is {field, value, field, value...}.
-- Safe to repeat. Changes nothing.

local answers = {}
for place, command in ipairs(cmsgpack.unpack(ARGV[1])) do
  answers[place] = redis.call(unpack(command))
end
return answers
