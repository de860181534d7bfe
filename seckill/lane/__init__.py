"""A sale in Redis: its keys, its scripts, one reading of its whole state."""
