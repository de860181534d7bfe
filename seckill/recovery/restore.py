"""Stores rows that PostgreSQL has lost again from the topic: exactly the accepted requests.

The board in Redis holds the outcome of each offset. An accepted offset without a record is a lost
order: PostgreSQL came back from an older copy, or the list was evicted. The message says what was
ordered. Owns finding these offsets and storing their rows.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import redis
from django.db import connection, transaction
from django.db.models import F

from seckill.broker.reader import TopicReader
from seckill.broker.unpack import Message
from seckill.errors import Poison, Refused
from seckill.formats.request import decode
from seckill.lane import board
from seckill.lane.clicks import Place
from seckill.lane.client import redis_errors
from seckill.lane.held import block_of, due_in
from seckill.lane.keys import BOARD_STRING, Lane
from seckill.lane.status import LaneStatus
from seckill.models import Activity, Item, Record
from seckill.postgres import settled, sold

# The advisory lock that allows one restore at a time: any number that nothing else uses.
RESTORING = 7_351_002
# Rows in one INSERT, and offsets fetched from PostgreSQL at once.
ROWS = 2_000
# How many lost offsets a message names.
NAMED = 5
RECORDED = """
SELECT DISTINCT "offset" FROM (
    SELECT "offset" FROM seckill_record WHERE source = %(source)s AND partition = %(partition)s
    UNION ALL
    SELECT "offset" FROM waiting WHERE source = %(source)s AND partition = %(partition)s) AS known
ORDER BY 1
"""


@dataclass
class Missing:
    """Accepted requests without a record: their offsets, by (source, partition)."""

    offsets: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many there are in total."""
        return sum(map(len, self.offsets.values()))

    def named(self) -> str:
        """The first few offsets, for a message."""
        every = [
            f"{source}:{partition}:{offset}"
            for (source, partition), offsets in self.offsets.items()
            for offset in offsets[:NAMED]
        ]
        return ", ".join(every[:NAMED]) + (" ..." if self.count > NAMED else "")


def recorded(source: str, partition: int) -> Iterator[int]:
    """The offsets that have a record, in order. Call `sold.stage` first, in one transaction."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(RECORDED, {"source": source, "partition": partition})
        while rows := cursor.fetchmany(ROWS):
            for (offset,) in rows:
                yield offset


def recorded_bytes(source: str, partition: int) -> Iterator[tuple[int, int]]:
    """The offsets that have a record, in order, each with its byte of the board. As `recorded`."""
    ended = settled.settled_offsets(source, partition)
    for offset in recorded(source, partition):
        yield offset, board.BYTE_OF.get(ended.get(offset, ""), board.ACCEPTED)


def find_missing(client: "redis.Redis", lane: Lane, status: LaneStatus) -> Missing:
    """Which accepted requests have no record. Call `sold.stage` first, in one transaction.

    The board ends where a partition stands; where the position itself is lost, its own end counts.
    Raises RedisAway.
    """
    missing = Missing()
    for place, end in board.ends(client, lane).items():
        position = status.positions.get(place, end)
        source, _, number = place.rpartition(":")
        partition = int(number)
        accepted = board.accepted(client, lane, source, partition, position)
        lost = list(board.without(accepted, recorded(source, partition)))
        if lost:
            missing.offsets[source, partition] = lost
    return missing


def store_missing(client: "redis.Redis", lane: Lane, status: LaneStatus, topic: TopicReader) -> int:
    """Store missing rows of accepted requests from their messages. Returns how many requests.

    Raises Refused and stores nothing if the topic no longer holds one of them.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RESTORING])
        sold.stage(sold.waiting(client, lane, {}))
        missing = find_missing(client, lane, status)
        for (source, partition), offsets in missing.offsets.items():
            if source != topic.source:
                raise Refused(
                    f"accepted orders of an earlier topic ({source}) are lost, but the topic of "
                    f"this name is now {topic.source}: {missing.named()}"
                )
            _store(lane, topic, partition, offsets, _Dues(client, lane, status))
        left = find_missing(client, lane, status)
        if left.count:
            raise Refused(f"{left.count} of {missing.count} could not be stored: {left.named()}")
    return missing.count


@dataclass
class _Dues:
    """Until when restored holds may be paid: Redis knows it of those that are held still."""

    client: "redis.Redis"
    lane: Lane
    status: LaneStatus

    def of(self, place: tuple[str, int, int], activity_id: int, at: datetime) -> datetime | None:
        """None: it is no hold. Of a settled one the moment of its order, for nobody knows it."""
        activity = self.status.activities.get(activity_id)
        if activity is None or not activity.has_holds:
            return None
        number, index = divmod(place[2], BOARD_STRING)
        pipe = self.client.pipeline(transaction=False)
        pipe.hget(self.lane.activity(activity_id).held, block_of(Place(*place)))
        pipe.getrange(self.lane.board(place[0], place[1], number), index, index)
        with redis_errors():
            text, byte = pipe.execute()
        due = due_in(text, place[2])
        if due is not None:
            return datetime.fromtimestamp(due / 1000, UTC)
        return at if byte and byte[0] in board.KIND_OF else None


def _store(lane: Lane, topic: TopicReader, partition: int, offsets: list[int], dues: _Dues) -> None:
    rows: list[Record] = []
    found = 0
    wanted = set(offsets)
    for batch in topic.messages(partition, offsets[-1] + 1, offsets[0]):
        for message in batch:
            offset = message.offset() or 0
            if offset not in wanted:
                continue
            found += 1
            rows += _rows(topic, partition, offset, message, dues)
        while len(rows) >= ROWS:
            _insert(lane, rows[:ROWS])
            del rows[:ROWS]
    if found != len(offsets):
        raise Refused(
            f"the topic no longer holds {len(offsets) - found} of {len(offsets)} lost orders of "
            f"partition {partition} (retention): restore PostgreSQL from a newer copy"
        )
    _insert(lane, rows)


def _rows(
    topic: TopicReader, partition: int, offset: int, message: Message, dues: _Dues
) -> list[Record]:
    at = datetime.fromtimestamp(max(0, message.timestamp()[1]) / 1000, UTC)
    try:
        request = decode(message.value())
    except Poison as poison:
        raise Refused(
            f"the message at {topic.source}:{partition}:{offset} was accepted, but it is not a "
            f"request now ({poison}): is this the topic of the sale?"
        ) from None
    due = dues.of((topic.source, partition, offset), request.activity, at)
    return [
        Record(
            user_id=request.user_id,
            activity_id=request.activity,
            item_id=item,
            quantity=quantity,
            # Only the lost row had the latency and the version.
            cost_ms=0,
            version=0,
            status="success",
            ts=at,
            source=topic.source,
            partition=partition,
            offset=offset,
            request_id=request.request_id or None,
            due=due,
        )
        for item, quantity in request.items.items()
    ]


def _insert(lane: Lane, rows: list[Record]) -> None:
    Record.objects.bulk_create(rows)
    units: Counter[tuple[int, int]] = Counter()
    for row in rows:
        units[row.activity_id, row.item_id] += row.quantity
    for (activity, item), count in sorted(units.items()):
        Activity.objects.get_or_create(pk=activity, defaults={"lane": lane.name})
        Item.objects.get_or_create(activity_id=activity, item_id=item)
        Item.objects.filter(activity_id=activity, item_id=item).update(sold=F("sold") + count)
