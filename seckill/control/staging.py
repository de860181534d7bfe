"""Buyers counted from the records, on their way into Redis.

One count writes them to a key of its own, beside the buyers of the sale. The script that needs them
then takes them in as a whole, and refuses those of any other count. So no batch of requests sees
half of them, and a late or repeated call cannot add to them.
"""

import secrets
from collections.abc import Mapping

import redis

from seckill.lane.client import run_script

# Buyers in one call. Each is two values, and Lua's unpack takes about 8,000 at most.
CHUNK = 2_000
# The token that means: take no buyers in.
NONE = ""


def stage(client: "redis.Redis", key: str, buyers: Mapping[int, int]) -> str:
    """Write {user: units} to the key. Returns the token that names this count to a script.

    If another count begins before the script runs, the script refuses this token. Raises RedisAway.
    """
    token = secrets.token_hex(8)
    users = list(buyers.items())
    for first in range(0, max(1, len(users)), CHUNK):
        pairs = [part for pair in users[first : first + CHUNK] for part in pair]
        begin = "1" if first == 0 else "0"
        if not run_script(client, "stage_buyers", [key], [token, begin, *pairs]):
            break
    return token
