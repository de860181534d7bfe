"""What a Redis says that it is: which lane, in which generation and term. Read, and written."""

import redis

from seckill.errors import RedisAway
from seckill.lane.client import run_script
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus
from seckill.postgres.lease import Claim


def write_claim(client: "redis.Redis", lane: Lane, claim: Claim) -> None:
    """Have Redis say what it is. Raises RedisAway."""
    args: list[str | int | bytes] = [claim.identity, claim.term, claim.generation]
    if not run_script(client, "claim_lane", [lane.state], args):
        raise RedisAway("it was replaced by another one just now: trying again")


def claim_of_lane(lane: LaneStatus) -> Claim:
    """What a Redis that was looked at says of itself."""
    return Claim(
        lane.identity, lane.generation, lane.term, empty=not lane.loaded and not lane.positions
    )
