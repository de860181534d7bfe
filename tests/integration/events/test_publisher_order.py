"""The order of events: each user's own, whatever order their rows are committed in."""

import psycopg
import pytest

from seckill.events.feed import Chunk, Cursor, Feed, highest_rows
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.postgres.access import connect
from seckill.process.shutdown import Shutdown
from tests.conftest import wait_until
from tests.helpers.node import SOON_S
from tests.helpers.publishing import Published
from tests.helpers.sale import SOURCE, waiting
from tests.helpers.settling import paid


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 2000])
def test_the_events_of_a_user_keep_their_order(sale: Published, rows: int) -> None:
    """One user, many orders, of which some end before the next one begins."""
    want: list[tuple[str, int]] = []
    for _ in range(4):
        first, second = sale.buy(7, 7, items={1001: 1, 1002: 3})
        want += [("accepted", first), ("accepted", second)]
        sale.settle(paid(first, 7))
        want += [("paid", first)]
        sale.expire(second)
        want += [("expired", second)]
        next_second(sale)
    sale.store()
    sale.publish(sale.publisher(rows=rows))
    assert sale.kinds() == {7: want}


def next_second(sale: Published) -> None:
    """Between two tables the order is known to the second."""
    now = sale.client.time()[0]  # type: ignore[index]
    wait_until(lambda: sale.client.time()[0] > now, SOON_S, "a second is over")  # type: ignore[index]


class Hasty(Feed):
    """Negative control: a cursor over the ids alone."""

    def next(self, connection: psycopg.Connection, cursor: Cursor) -> Chunk | None:
        self._barrier = highest_rows(connection), frozenset()
        return super().next(connection, cursor)


@pytest.mark.parametrize("hasty", [False, True])
def test_rows_that_are_committed_out_of_order(sale: Published, hasty: bool) -> None:
    """A transaction that drew lower ids and commits later is waited for, not passed over."""
    sale.buy(1, 2)
    (old,) = sale.buy(3)
    sale.store()
    insert = (
        "INSERT INTO seckill_record (user_id, activity_id, item_id, quantity, cost_ms, status, ts,"
        ' source, partition, "offset", version) VALUES'
        " (%s, 1, 1001, 1, 1, 'success', now(), %s, 0, %s, 1)"
    )
    publisher = sale.publisher()
    if hasty:
        publisher.feed = Hasty()
    fast = connect(sale.dsn, 5, 30.0)
    with connect(sale.dsn, 5, 30.0) as slow, slow.transaction():
        slow.execute(insert, (11, SOURCE, 101))
        fast.execute(insert, (12, SOURCE, 102))
        told = publisher.run_once()
        assert told == (4 if hasty else 0), "beyond a transaction that runs"
    fast.close()
    sale.publish(publisher)
    want = {1: 0, 2: 1, 3: old, 11: 101, 12: 102}
    if hasty:
        del want[11]
    assert sale.kinds() == {user: [("accepted", offset)] for user, offset in want.items()}


def test_two_log_workers_and_one_that_stores_twice(sale: Published) -> None:
    """Rows that are stored a second time are the same rows: no second event."""
    sale.buy(99)
    sale.store()
    sale.buy(*range(1, 31))
    stale = LogWorker(sale.client, Storage(sale.dsn), Shutdown(), batch_size=10)
    read = stale._read(0)
    sale.store(batch_size=7)
    assert sale.publish() == 31
    # The stale worker stores what it had read before.
    result = stale.storage.store(read.claim, read.records, read.texts, stored=read.stored)
    assert (result.new, result.known) == (0, len(read.records))
    stale.storage.close()
    assert waiting(sale.client) == []
    assert sale.publish() == 0
    assert len(sale.events()) == 31


def test_an_order_in_parts(sale: Published) -> None:
    """An item that PostgreSQL refused at first and took later has an event of its own."""
    sale.buy(1, items={1001: 1, 1002: 2}, activity=2)
    with connect(sale.dsn, 5, 30.0) as connection:
        connection.execute(
            "ALTER TABLE seckill_record ADD CONSTRAINT not_now CHECK (item_id <> 1001) NOT VALID"
        )
        try:
            sale.store()
        finally:
            connection.execute("ALTER TABLE seckill_record DROP CONSTRAINT not_now")
        assert sale.publish() == 1
        connection.execute(
            "INSERT INTO seckill_record (user_id, activity_id, item_id, quantity, cost_ms, status,"
            ' ts, source, partition, "offset", version)'
            " SELECT user_id, activity_id, 1001, 1, 1, 'success', ts, source, partition,"
            ' "offset", version FROM seckill_record'
        )
    assert sale.publish() == 1
    order = f"{SOURCE}:0:0"
    assert {e["id"]: e["data"]["items"] for e in sale.events()} == {
        f"{order}:accepted": {"1002": 2},
        f"{order}:accepted:1001": {"1001": 1},
    }
