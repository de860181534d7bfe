-- A whole number as text. Redis itself would write 1e+08 where that is shorter, and Redis 7.0
-- writes the zero of a subtraction as -0.
local function whole(number)
  if number == 0 then return '0' end
  return string.format('%.0f', number)
end
