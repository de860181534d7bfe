"""Buyers that were counted from the records, on their way into Redis.

They are written beside the sale's own, whole and by one count only; the script that needs them
takes them in, and refuses those of another count. So no batch sees half of them, and nobody who
comes late or twice adds to them.
"""

import secrets
from collections.abc import Mapping

import redis

from seckill.lane.client import run_script

# Buyers of one call: two values each, and Lua's unpack ends at about 8,000.
CHUNK = 2_000
# What stands for "no buyers are taken in".
NONE = ""


def stage(client: "redis.Redis", key: str, buyers: Mapping[int, int]) -> str:
    """Write {user: units} to the key; the token by which a script knows them. Raises RedisAway.

    Where another count begins meanwhile this one is lost: the script refuses its token.
    """
    token = secrets.token_hex(8)
    users = list(buyers.items())
    for first in range(0, max(1, len(users)), CHUNK):
        pairs = [part for pair in users[first : first + CHUNK] for part in pair]
        begin = "1" if first == 0 else "0"
        if not run_script(client, "stage_buyers", [key], [token, begin, *pairs]):
            break
    return token
