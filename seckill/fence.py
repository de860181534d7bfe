"""The fence: what stops all deciding in a lane when Redis is found to be older than the sale.

Only `manage.py recover` lifts the fence of others: who fences keeps a token, and lifts with it.
"""

import secrets
from dataclasses import dataclass

import redis

from seckill.keys import Lane
from seckill.redis_client import run_script

REWOUND = "REWOUND"
RECOVERING = "RECOVERING"
# A part of the lane is missing in Redis. decide_batch.lua repeats the word.
TORN = "TORN"


@dataclass(frozen=True)
class FenceToken:
    """Whose fence it is. A late lift or rebuild with another one's token does nothing."""

    value: str


def new_token() -> FenceToken:
    """A token that nobody else has."""
    return FenceToken(secrets.token_hex(8))


def fence(
    client: "redis.Redis",
    lane: Lane,
    word: str,
    why: str,
    *,
    token: FenceToken | None = None,
    replace: bool = False,
    generation: int | None = None,
) -> bool:
    """Stop all deciding. Whether it was set: an older fence stays, unless `replace`.

    `generation` is the one in which the reason was found: in a later one it is no reason any more.
    """
    args: list[str | int | bytes] = [
        word,
        why,
        (token or new_token()).value,
        "1" if replace else "0",
        "" if generation is None else generation,
    ]
    return bool(run_script(client, "fence", [lane.state], args))


def lift(client: "redis.Redis", lane: Lane, token: FenceToken) -> bool:
    """Let the lane go on. Whether its fence was that of the token."""
    return bool(run_script(client, "fence", [lane.state], ["", "", token.value, "0", ""]))
