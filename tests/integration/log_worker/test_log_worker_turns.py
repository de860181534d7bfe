"""When the log worker waits, and for how long; and which entries it reads ahead."""

from typing import Any

import pytest
from django.utils import timezone

from seckill.lane.keys import Lane
from seckill.log_worker.storage import Storage, Stored
from seckill.log_worker.worker import FIRST_PAUSE_S, LONGEST_PAUSE_S, LogWorker
from seckill.models import DeadRecord
from seckill.postgres.lease import NotLeading
from seckill.process.shutdown import Shutdown
from tests.helpers.storing import StoredSale, all_stored_once

LANE = Lane()
NOBODY = "postgresql://u@127.0.0.1:1/none"


class Waits(Shutdown):
    """Asks for the stop at the last of so many waits, and waits for nothing."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.seconds = most, list[float]()

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        if len(self.seconds) == self.most:
            self.request()
        return self.requested


def worker_that_waits(sale: StoredSale, most: int, **options: Any) -> tuple[LogWorker, Waits]:
    worker = sale.worker(**options)
    waits = Waits(most)
    worker.shutdown = waits
    return worker, waits


def test_an_idle_worker_waits_each_turn(sale: StoredSale) -> None:
    turns: list[str] = []
    worker, waits = worker_that_waits(
        sale, 3, interval_s=7, beat=lambda _, hold: turns.append(hold)
    )
    worker.run()
    assert waits.seconds == [7, 7, 7]
    assert turns == ["", "", ""]


@pytest.mark.parametrize("drain", [False, True])
def test_it_waits_after_a_batch_that_is_not_full_and_to_drain_not_at_all(
    sale: StoredSale, drain: bool
) -> None:
    sale.accept(25)
    handled: list[int] = []
    worker, waits = worker_that_waits(
        sale, 2, batch_size=10, interval_s=7, beat=lambda it, _: handled.append(it.stored)
    )
    worker.run(drain=drain)
    assert handled == [10, 20, 25, 25]
    assert waits.seconds == ([] if drain else [7, 7])
    all_stored_once(sale, 25)


def test_while_a_service_is_away_it_waits_twice_as_long_each_time(sale: StoredSale) -> None:
    sale.accept(1)
    holds: list[str] = []
    worker, waits = worker_that_waits(
        sale, 9, storage=Storage(NOBODY), beat=lambda _, hold: holds.append(hold)
    )
    worker.run()
    doubled = [FIRST_PAUSE_S * 2**turn for turn in range(9)]
    assert waits.seconds == [min(pause, LONGEST_PAUSE_S) for pause in doubled]
    assert len(holds) == 9
    assert all("PostgreSQL is away" in hold for hold in holds)


def test_after_a_pause_it_begins_with_a_short_one_again(sale: StoredSale, pg_dsn: str) -> None:
    """PostgreSQL answers after the second pause, and is away again after the fourth turn."""
    sale.accept(1)
    away, back = Storage(NOBODY), Storage(pg_dsn)
    worker, waits = worker_that_waits(sale, 6, storage=away, interval_s=7)

    def beat(it: LogWorker, hold: str) -> None:
        if len(waits.seconds) == 1:
            it.storage = back
        elif not hold and it.stored == 1:
            it.storage = away
            sale.accept(1)

    worker.beat = beat
    worker.run()
    pauses = [FIRST_PAUSE_S, FIRST_PAUSE_S * 2]
    assert waits.seconds == [*pauses, 7, *pauses, FIRST_PAUSE_S * 4]
    back.close()


def test_a_batch_that_was_read_ahead_is_the_next_one(sale: StoredSale) -> None:
    """Exactly the one before the tail in the list, and nothing of it is read again."""
    sale.accept(10)
    worker = sale.worker(batch_size=3)
    # With its first batch it takes the lane, and reads that again.
    assert (worker.run_once(), worker.run_once()) == (3, 3)
    assert worker._ahead is not None
    assert [record.offset for record in worker._ahead.result().records] == [6, 7, 8]
    worker._read = None  # type: ignore[method-assign,assignment]
    worker.batch_size = 4
    assert worker.run_once() == 3
    assert (worker.stored, sale.client.llen(LANE.list)) == (9, 1)


def test_what_was_read_ahead_and_somebody_else_has_stored_is_known_again(sale: StoredSale) -> None:
    sale.accept(12)
    one, other = sale.worker(batch_size=3), sale.worker(batch_size=3)
    assert [it.run_once() for it in (one, one, other, one, one)] == [3] * 5
    assert (one.stored, other.stored, one.known) == (9, 3, 3)
    all_stored_once(sale, 12)


def test_what_was_settled_is_no_longer_told_as_parked(sale: StoredSale) -> None:
    """With its status line; where nothing is parked nothing is asked of PostgreSQL."""
    sale.client.lpush(LANE.list, b"no record", b"nor this")
    worker, _ = worker_that_waits(sale, 2, status_interval_s=0)
    worker.run(drain=True)
    assert sale.client.hget(LANE.state, "parked") == b"2"
    DeadRecord.objects.filter(raw=b"no record").update(dismissed_at=timezone.now())
    worker.run()
    assert sale.client.hget(LANE.state, "parked") == b"1"
    DeadRecord.objects.update(dismissed_at=timezone.now())
    worker, _ = worker_that_waits(sale, 1, status_interval_s=0)
    worker.run()
    assert sale.client.hget(LANE.state, "parked") == b"0"
    worker, _ = worker_that_waits(sale, 1, storage=Storage(NOBODY), status_interval_s=0)
    worker._recount_dead()
    assert sale.client.hget(LANE.state, "parked") == b"0"
    assert worker._told_at == 0


def test_what_somebody_else_took_while_the_lane_was_taken_is_nothing(sale: StoredSale) -> None:
    """At a start of Redis two workers take the lane, and one of them stores all there is."""
    other = sale.worker()

    class Second(Storage):
        def store(self, *args: Any, **options: Any) -> Stored:
            if not other.stored:
                other.run_once()
                raise NotLeading("Redis has just started")
            return super().store(*args, **options)

    sale.accept(3)
    worker = sale.worker(Second(sale.dsn))
    assert worker.run_once() == 0
    assert (worker.stored, other.stored) == (0, 3)
    sale.accept(2)
    assert worker.run_once() == 2
    all_stored_once(sale, 5)
