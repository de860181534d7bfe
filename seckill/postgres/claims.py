"""What a Redis claims to be: which lane, in which generation and term. Read and written here."""

import redis

from seckill.errors import RedisAway
from seckill.lane.client import run_script
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus
from seckill.postgres.lease import Claim


def write_claim(client: "redis.Redis", lane: Lane, claim: Claim) -> None:
    """Write a claim into Redis. Raises RedisAway."""
    args: list[str | int | bytes] = [claim.identity, claim.term, claim.generation]
    if not run_script(client, "claim_lane", [lane.state], args):
        raise RedisAway("it was replaced by another one just now: trying again")


def claim_of_lane(lane: LaneStatus) -> Claim:
    """The claim of a Redis whose lane was read."""
    return Claim(
        lane.identity, lane.generation, lane.term, empty=not lane.loaded and not lane.positions
    )
