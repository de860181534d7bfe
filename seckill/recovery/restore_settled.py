"""Stores settlements that PostgreSQL has lost again: exactly those that the board shows.

The board says of each hold whether it was paid, given back, or has expired. Of the first two the
settle topic says which message did it: the first one of that result, or the byte would be another.
Money for a hold that had ended is there too: each later message that says paid.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import redis
from django.db import connection, transaction
from django.db.models import F

from seckill.broker.reader import TopicReader
from seckill.errors import Poison, Refused
from seckill.formats.record import CANCELLED, EXPIRED, PAID
from seckill.formats.settle import Result, Settlement, decode
from seckill.lane import board
from seckill.lane.keys import BOARD_STRING, Lane
from seckill.lane.status import LaneStatus
from seckill.models import Item, LatePayment
from seckill.models import Settlement as Row
from seckill.postgres import settled, sold

# Rows in one INSERT.
ROWS = 2_000
# How many lost settlements a message names.
NAMED = 5
ORDERS = """
SELECT source::text, partition, "offset", item_id, user_id, activity_id, quantity
FROM seckill_record JOIN unnest(%s::uuid[], %s::int[], %s::bigint[])
    AS asked(source, partition, "offset") USING (source, partition, "offset")
"""

Place = tuple[str, int, int]


@dataclass
class Lost:
    """Holds that are settled, and of which nobody has the settlement: {place: how it ended}."""

    holds: dict[Place, str] = field(default_factory=dict)

    def named(self) -> str:
        """How many, and the first few, for a message."""
        some = [":".join(map(str, place)) for place in list(self.holds)[:NAMED]]
        more = " ..." if len(self.holds) > NAMED else ""
        return (
            f"{len(self.holds):,} holds are settled without a settlement: {', '.join(some)}{more}"
        )


def find_lost(client: "redis.Redis", lane: Lane, status: LaneStatus) -> Lost:
    """Compare the board with the settlements. Call `sold.stage` first, in one transaction.

    Raises RedisAway.
    """
    lost = Lost()
    if not status.settle_positions and not any(a.has_holds for a in status.activities.values()):
        return lost
    for name, end in board.ends(client, lane).items():
        source, _, number = name.rpartition(":")
        known = settled.settled_offsets(source, int(number))
        below = status.positions.get(name, end)
        for offset, kind in board.ended(client, lane, source, int(number), below):
            if offset not in known:
                lost.holds[source, int(number), offset] = kind
    return lost


def store_lost(
    client: "redis.Redis", lane: Lane, status: LaneStatus, topic: TopicReader | None
) -> int:
    """Store lost settlements and late payments. Returns how many settlements.

    `topic` is the settle topic. Raises Refused and stores nothing if it does not hold one of them.
    """
    with transaction.atomic():
        sold.stage(sold.waiting(client, lane, {}))
        lost = find_lost(client, lane, status)
        orders = _orders(lost)
        users = {order[:3]: order[4] for order in orders}
        messages: dict[Place, tuple[str, int, int, datetime, str | None]] = {}
        late: list[LatePayment] = []
        if topic is not None:
            boards = _Boards(client, lane)
            for by, at, message in _messages(topic, status.settle_positions):
                kind = PAID if message.result is Result.PAID else CANCELLED
                if lost.holds.get(message.hold) == kind:
                    if users[message.hold] != message.user_id:
                        # NOT_HELD: somebody else's hold.
                        continue
                    messages.setdefault(message.hold, (*by, at, message.reference or None))
                elif kind == PAID and boards.ended(message.hold) in (EXPIRED, CANCELLED):
                    late.append(_late(by, at, message))
        without = [
            place for place, kind in lost.holds.items() if kind != EXPIRED and place not in messages
        ]
        if without:
            raise Refused(
                f"the settle topic no longer holds the messages of {len(without):,} holds that "
                f"are paid or given back, such as {':'.join(map(str, without[0]))} (retention, or "
                "another topic): restore PostgreSQL from a newer copy"
            )
        _store(lost, orders, messages)
        LatePayment.objects.bulk_create(late, batch_size=ROWS, ignore_conflicts=True)
    return len(lost.holds)


def _messages(
    topic: TopicReader, positions: Mapping[str, int]
) -> Iterator[tuple[tuple[str, int, int], datetime, Settlement]]:
    """The settle messages below the positions, each with its place and its time."""
    for name, position in sorted(positions.items()):
        source, _, partition = name.rpartition(":")
        if source != topic.source:
            continue
        for batch in topic.messages(int(partition), position):
            for message in batch:
                try:
                    settlement = decode(message.value())
                except Poison:
                    # It was INVALID, and settled nothing.
                    continue
                at = datetime.fromtimestamp(max(0, message.timestamp()[1]) / 1000, UTC)
                yield (source, int(partition), message.offset() or 0), at, settlement


@dataclass
class _Boards:
    """Strings of the board, each read once."""

    client: "redis.Redis"
    lane: Lane
    read: dict[tuple[str, int, int], bytearray] = field(default_factory=dict)

    def ended(self, place: Place) -> str | None:
        """How the hold at a place ended; None: it did not, or there is none."""
        number, index = divmod(place[2], BOARD_STRING)
        key = place[0], place[1], number
        if key not in self.read:
            self.read[key] = board.read(self.client, self.lane, *key)
        return board.KIND_OF.get(self.read[key][index])


def _late(by: tuple[str, int, int], at: datetime, message: Settlement) -> LatePayment:
    source, partition, offset = message.hold
    return LatePayment(
        settle_source=by[0], settle_partition=by[1], settle_offset=by[2],
        source=source, partition=partition, offset=offset, user_id=message.user_id,
        activity_id=message.activity_id, reference=message.reference or None, ts=at,
    )  # fmt: skip


def _orders(lost: Lost) -> list[tuple[Any, ...]]:
    """(source, partition, offset, item, user, activity, quantity) of the holds. Raises Refused."""
    with connection.cursor() as cursor:
        cursor.execute(ORDERS, [[place[i] for place in lost.holds] for i in range(3)])
        orders = cursor.fetchall()
    without = len(lost.holds.keys() - {order[:3] for order in orders})
    if without:
        raise Refused(
            f"{without:,} holds are settled, but their orders still wait in the list: run "
            "manage.py run_log_worker --drain first"
        )
    return list(orders)


def _store(
    lost: Lost, orders: list[tuple[Any, ...]], messages: Mapping[Place, tuple[Any, ...]]
) -> None:
    now = datetime.now(UTC)
    rows: list[Row] = []
    back: Counter[tuple[int, int]] = Counter()
    for source, partition, offset, item, user, activity, quantity in orders:
        place = source, partition, offset
        kind = lost.holds[place]
        by = messages.get(place, (None, None, None, now, None))
        row = Row(source=source, partition=partition, offset=offset, item_id=item, user_id=user)
        row.activity_id, row.quantity, row.kind = activity, quantity, kind
        row.settle_source, row.settle_partition, row.settle_offset, row.ts, row.reference = by
        rows.append(row)
        if kind != PAID:
            back[activity, item] += quantity
    Row.objects.bulk_create(rows, batch_size=ROWS)
    for (activity, item), units in sorted(back.items()):
        Item.objects.filter(activity_id=activity, item_id=item).update(
            sold=F("sold") - units, returned=F("returned") + units
        )
