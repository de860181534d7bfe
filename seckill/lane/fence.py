"""The fence: it stops all decisions in a lane, when Redis is found to be older than the sale.

Each fence has a token, and only its token lifts it. Only `manage.py recover` replaces a fence.
"""

import secrets
from dataclasses import dataclass

import redis

from seckill.formats.advice import in_lane
from seckill.lane.client import run_script
from seckill.lane.keys import Lane

REWOUND = "REWOUND"
RECOVERING = "RECOVERING"
# A part of the lane is missing in Redis. decide_batch.lua uses the same word.
TORN = "TORN"


@dataclass(frozen=True)
class FenceToken:
    """Identifies who set a fence. A late lift or rebuild with another token does nothing."""

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
    """Stop all decisions. True if the fence was set; an existing one stays unless `replace`.

    `generation` is the one in which the reason was found. In a later one it is no longer valid.
    """
    args: list[str | int | bytes] = [
        word,
        in_lane(why, lane.name),
        (token or new_token()).value,
        "1" if replace else "0",
        "" if generation is None else generation,
    ]
    return bool(run_script(client, "fence", [lane.state], args))


def lift(client: "redis.Redis", lane: Lane, token: FenceToken) -> bool:
    """Remove the fence if it has this token. True if it was removed."""
    return bool(run_script(client, "fence", [lane.state], ["", "", token.value, "0", ""]))
