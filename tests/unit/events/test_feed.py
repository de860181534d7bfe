"""The order of two tables as one sequence, whatever part of them is read at once."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from seckill.events.cloud_event import Event
from seckill.events.feed import Cursor, Row, merged

PLACE = "00000000-0000-4000-8000-000000000000"


def _rows(seconds: list[tuple[int, bool]]) -> tuple[list[Row], list[Row]]:
    """Orders and their ends, in the order of Redis. (seconds since the one before, is an end)."""
    records: list[Row] = []
    ends: list[Row] = []
    at, ended = 0, 0
    for pause, is_end in seconds:
        at += pause
        when = datetime.fromtimestamp(at, UTC)
        if is_end and ended < len(records):
            order = records[ended]
            ended += 1
            event = Event("paid", (PLACE, 0, order.id), 1, 1, {1: 1}, when)
            ends.append(Row(len(ends) + 1, when, event, order.id))
        else:
            number = len(records) + 1
            event = Event("accepted", (PLACE, 0, number), 1, 1, {1: 1}, when)
            records.append(Row(number, when, event))
    return records, ends


def _told(records: list[Row], ends: list[Row], at_once: int) -> list[str]:
    """All events, read so many rows at once."""
    cursor = Cursor()
    told: list[str] = []
    while True:
        some = records[cursor.record : cursor.record + at_once]
        others = ends[cursor.settlement : cursor.settlement + at_once]
        more = Cursor(len(some) == at_once, len(others) == at_once)
        chunk = merged(cursor, [some, others, []], more)
        told += [event.id for event in chunk.events]
        if chunk.cursor == cursor:
            return told
        cursor = chunk.cursor


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=40), st.integers(1, 7))
def test_the_order_does_not_depend_on_what_is_read_at_once(
    seconds: list[tuple[int, bool]], at_once: int
) -> None:
    records, ends = _rows(seconds)
    every = [*((r.at, 0, r.id, r) for r in records), *((e.at, 1, e.id, e) for e in ends)]
    want = [row.event.id for *_, row in sorted(every, key=lambda x: x[:3]) if row.event]
    assert _told(records, ends, at_once) == want


def test_an_order_comes_first_even_if_its_time_is_later() -> None:
    """As after a restoration: rows have the time of their message."""
    late, early = datetime.fromtimestamp(100, UTC), datetime.fromtimestamp(5, UTC)
    orders = [
        Row(n, at, Event("accepted", (PLACE, 0, n), 1, 1, {1: 1}, at))
        for n, at in ((1, late), (2, early))
    ]
    end = Row(1, early, Event("expired", (PLACE, 0, 2), 1, 1, {1: 1}, early), 2)
    ids = [e.id.rpartition(":")[0][-1] + e.kind[0] for e in _events(orders, [end])]
    assert ids == ["1a", "2a", "2e"]


def test_an_end_waits_for_an_order_that_is_not_read_yet() -> None:
    at = datetime.fromtimestamp(1, UTC)
    end = Row(1, at, Event("paid", (PLACE, 0, 9), 1, 1, {1: 1}, at), 9)
    assert _events([], [end]) == []


def _events(records: list[Row], ends: list[Row]) -> list[Event]:
    return merged(Cursor(), [records, ends, []], Cursor()).events


def test_late_money_comes_after_the_end_of_its_hold() -> None:
    """Of one second too; and never before an order that is not read yet."""
    at = datetime.fromtimestamp(1, UTC)
    tables = [
        [Row(number, at, Event(kind, (PLACE, 0, 1), 1, 1, {1: 1}, at), needs)]
        for kind, number, needs in (
            ("accepted", 3, 0), ("expired", 1, 3), ("payment_late", 1, 3)
        )
    ]  # fmt: skip
    told = merged(Cursor(), tables, Cursor())
    assert [event.kind for event in told.events] == ["accepted", "expired", "payment_late"]
    assert told.cursor == Cursor(3, 1, 1)
    assert merged(Cursor(), [[], [], tables[2]], Cursor()).events == []
    unread = Cursor(settlement=1)
    assert [e.kind for e in merged(Cursor(), [tables[0], [], tables[2]], unread).events] == []
