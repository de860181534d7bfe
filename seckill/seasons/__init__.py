"""Orders of many years, for who wants it: a partition of `seckill_record` for each season."""
