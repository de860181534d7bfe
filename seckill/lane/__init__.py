"""A sale in Redis: its keys, its scripts, one look at all of it."""
