"""Whether an operator's act may change a lane. Every act asks this first, whoever does it.

Owns the refusals that apply to every act: the lane is fenced, it is another lane, or this Redis
does not lead it or has lost data. The scripts check the fence again in the call that changes Redis.
"""

import redis
from django.db import connection, transaction
from django.utils.translation import gettext as _

from seckill.control.act_script import fenced
from seckill.errors import Fenced, PostgresAway, Refused
from seckill.lane.client import redis_errors
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus, read_lane
from seckill.postgres import lease
from seckill.postgres.claims import claim_of_lane, write_claim
from seckill.postgres.lease import (
    Claim,
    ForeignLane,
    LaneLost,
    NotLeading,
    PostgresOlder,
    RedisOlder,
)
from seckill.postgres.witness import last_rows, lost_acts, lost_rows, steered, undecided


def admit(client: "redis.Redis", lane: Lane) -> None:
    """Raises Fenced if no act may change this lane now; RedisAway."""
    with redis_errors():
        run_id: str = client.info("server")["run_id"]
    # PostgreSQL is read first. It follows Redis, so a Redis that is read later is never behind it.
    with transaction.atomic(), connection.cursor() as cursor:
        ends, acts = last_rows(cursor, lane), steered(cursor, lane)
    status = read_lane(client, lane)
    if status.fence is not None:
        raise fenced(f"{status.fence.word}: {status.fence.why}")
    claim = claim_of_lane(status)
    try:
        leading = _lead(lane, run_id, claim)
    except (ForeignLane, LaneLost, NotLeading, RedisOlder) as refused:
        raise Fenced(str(refused)) from None
    if leading != claim:
        write_claim(client, lane, leading)
    begun = status.loaded or bool(status.positions)
    why = undecided(status.positions, ends) or (lost_acts(status, acts) if begun else "")
    if why:
        raise Fenced(
            _(
                "Redis is older than the sale: %(why)s. manage.py recover shows the plan, --apply "
                "carries it out"
            )
            % {"why": why}
        )


def _lead(lane: Lane, run_id: str, claim: Claim) -> Claim:
    with transaction.atomic(), connection.cursor() as cursor:
        row = lease.read(cursor, lane.list)
        try:
            lease.compare(row, claim)
        except PostgresOlder:
            # Acts that count no records stay allowed: an operator can always end a sale.
            return claim
        except LaneLost:
            # `lead` decides whether anything was lost.
            pass
        if row is not None and row.master == run_id and row.term == claim.term:
            return claim
        return lease.lead(cursor, lane.list, run_id, claim, compares=True)


def refuse_if_postgres_is_older(status: LaneStatus, lane: Lane) -> None:
    """Called before records are counted. Raises Refused if PostgreSQL has lost stored records.

    The counts would be too low, and sold units would go on sale again.
    """
    with connection.cursor() as cursor:
        try:
            row = lease.read(cursor, lane.list)
            if row is not None:
                lease.compare(row, claim_of_lane(status))
            gone = lost_rows(cursor, status.stored) if status.stored else ""
            if gone:
                raise PostgresOlder(gone)
        except PostgresAway as older:
            raise Refused(str(older)) from None
