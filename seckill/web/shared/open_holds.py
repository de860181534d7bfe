"""Which stored orders may be held, as Redis knows it: few, beside all the orders that were settled.

Owns the way there. An order without a settlement in PostgreSQL is held in Redis, or its settlement
is in the list, or it is a dead record. Redis is read before PostgreSQL, and its holds before its
list, so what moves on meanwhile is found at its next place. What is found has to be looked up: its
order may not be stored yet, and its settlement may be stored by now.
"""

from collections.abc import Collection, Iterator

import redis
from django.db import connection

from seckill.errors import RedisAway
from seckill.formats.record import SETTLED
from seckill.lane import held
from seckill.lane.clicks import Place
from seckill.lane.keys import Lane
from seckill.lane.record_list import readable
from seckill.models import DeadRecord
from seckill.postgres.distinct import distinct_sql
from seckill.web.shared.services import all_lanes, redis_client

# More open holds and entries of lists are not read for one page.
MOST = 10_000
# Activities with orders.
WITH_ORDERS = distinct_sql("seckill_record", "activity_id")
IDS = """
SELECT r.id FROM unnest(%s::uuid[], %s::int[], %s::bigint[]) AS g(source, partition, "offset")
JOIN seckill_record AS r USING (source, partition, "offset")
"""


def may_be_held(sale: Collection[int] | None) -> list[int] | None:
    """The ids of all orders of these activities (None: of all) that may be held; more than are.

    None if Redis cannot say it: it is away, fenced or does not have an activity; or is too much.
    """
    asked = _with_orders() if sale is None else _with_orders() & set(sale)
    lanes, _away = all_lanes()
    names = sorted({lanes.name_of(number) for number in asked})
    known = {name: status for name in names if (status := lanes.by_name.get(name))}
    if len(known) < len(names) or any(status.fence for status in known.values()):
        return None
    if any(lanes.status(number) is None for number in asked):
        return None
    if sum(status.held + status.waiting for status in known.values()) > MOST:
        return None
    places: set[Place] = set()
    try:
        for number in asked:
            name = lanes.name_of(number)
            holds = held.all_of(redis_client(name), Lane.named(name), number)
            places.update(hold.place for hold in holds)
        for name in names:
            places.update(_settled_in_list(redis_client(name), Lane.named(name)))
    except RedisAway:
        return None
    dead = DeadRecord.objects.filter(entry__in=SETTLED, source__isnull=False)
    for source, partition, offset in dead.values_list("source", "partition", "offset"):
        places.add(Place(str(source), partition or 0, offset or 0))
    return _ids(places)


def _with_orders() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(WITH_ORDERS)
        return {number for (number,) in cursor.fetchall()}


def _settled_in_list(client: "redis.Redis", lane: Lane) -> Iterator[Place]:
    """The holds whose settlements are not stored yet."""
    for record in readable(client, lane):
        if record.kind in SETTLED:
            yield Place(record.source, record.partition, record.offset)


def _ids(places: Collection[Place]) -> list[int]:
    """The stored orders of these requests."""
    columns = zip(*((p.source, p.partition, p.offset) for p in places), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(IDS, [list(column) for column in columns] or [[]] * 3)
        return [number for (number,) in cursor.fetchall()]
