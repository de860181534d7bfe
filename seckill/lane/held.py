"""Open holds by item, for people who look at an inventory. Reads only, in small steps."""

from collections import Counter

import redis

from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane

# Holds that one step reads.
STEP = 1_000


def units_by_item(client: "redis.Redis", lane: Lane, activity_id: int) -> Counter[int]:
    """{item: units} in the holds of an activity that nobody has settled. Raises RedisAway.

    It is no moment's picture: holds that come or go meanwhile may count or not.
    """
    # By place: a step may bring one again.
    holds: dict[bytes, bytes] = {}
    with redis_errors():
        for place, hold in client.hscan_iter(lane.activity(activity_id).held, count=STEP):
            holds[place] = hold
    units: Counter[int] = Counter()
    for hold in holds.values():
        for word in hold.split(b"|")[2:]:
            item, _, number = word.partition(b":")
            units[int(item)] += int(number)
    return units
