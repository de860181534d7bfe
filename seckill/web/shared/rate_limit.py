"""The rate limit of the control API, per key and per address. Redis decides.

One script call counts a request in all its buckets by Redis's clock, so all web processes share
the limit. If Redis is away, calls are not counted and continue.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import redis

from seckill.lane.client import run_script
from seckill.lane.keys import rate_bucket


@dataclass(frozen=True)
class Verdict:
    """Whether a call is allowed, and the state of the fullest bucket. Times in seconds."""

    allowed: bool
    remaining: int
    reset_s: int
    retry_after_s: int


def count(client: "redis.Redis", callers: Sequence[str], rate: float, burst: int) -> Verdict:
    """Count one call of these callers: names that tell each from every other. Raises RedisAway."""
    allowed, remaining, reset_ms, retry_ms = run_script(
        client, "rate_limit", [rate_bucket(caller) for caller in callers], [str(rate), burst]
    )
    return Verdict(bool(allowed), int(remaining), _up(reset_ms), _up(retry_ms))


def _up(milliseconds: int) -> int:
    """Whole seconds, none too few."""
    return -(-int(milliseconds) // 1000)
