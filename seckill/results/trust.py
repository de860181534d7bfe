"""Whether what Redis says of a request may be told to a buyer.

Owns the doubt. Redis may be fenced, empty, or older than the sale; another one may lead the lane.
Then only what stands in PostgreSQL is certain. Reads only: `seckill.control.admission` is for acts.
"""

from collections.abc import Mapping

from django.db import connection

from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus
from seckill.postgres import lease, witness
from seckill.postgres.claims import claim_of_lane


def ends(lane: Lane) -> dict[str, int]:
    """{source:partition: the offset after the last row}, of a lane. Read it before the lane."""
    with connection.cursor() as cursor:
        return witness.last_rows(cursor, lane)


def doubt(status: LaneStatus, lane: Lane, before: Mapping[str, int]) -> str:
    """Why this Redis is not to be believed, in words; "" if it is. `before` is from `ends`."""
    if status.fence is not None:
        return f"the lane is fenced: {status.fence.word}: {status.fence.why}"
    with connection.cursor() as cursor:
        row = lease.read(cursor, lane.list)
    return witness.doubt(
        row,
        claim_of_lane(status),
        loaded=status.loaded,
        positions=status.positions,
        ends=before,
    )
