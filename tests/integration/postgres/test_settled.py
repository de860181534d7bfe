"""What became of holds, from entries at each place where one can be: list, rows, dead records."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
import redis
from django.db import transaction

from seckill.formats.record import WireRecord
from seckill.lane.clicks import Place
from seckill.lane.held import Hold
from seckill.lane.keys import Lane
from seckill.postgres import settled, sold
from seckill.postgres.settled import Ended
from tests.helpers.books import Books
from tests.helpers.holds import DUE_MS, SETTLE_SOURCE, cancelled, expired, held, late, paid
from tests.helpers.sale import SOURCE, keep_dead

LANE = Lane()
# Below 10 it was accepted before T; below 5 the settle messages were settled before T.
POSITIONS = {f"{SOURCE}:3": 10, f"{SETTLE_SOURCE}:1": 5}
ENTRIES = [
    *(held(n, user_id=100 + n) for n in range(5)),
    held(4, user_id=104, item_id=1002, quantity=1),
    paid(0, 0, user_id=100),
    expired(1, user_id=101),
    cancelled(2, 1, user_id=102),
    late(1, 2, user_id=101),
    # Settled after T: it is still held at T.
    paid(3, 5, user_id=103),
    # Accepted after T.
    held(10, user_id=110),
    expired(10, user_id=110),
]


@pytest.fixture
def storage(pg_dsn: str) -> Iterator[Books]:
    books = Books(pg_dsn)
    yield books
    books.storage.close()


@pytest.fixture(autouse=True)
def _database(transactional_db: None) -> None:
    """Rows are committed, and removed after the test."""


def push(client: "redis.Redis", entries: Sequence[WireRecord]) -> None:
    """Into the list, as the scripts do."""
    for each in entries:
        client.lpush(LANE.list, msgspec.json.encode(each))


def counted(client: "redis.Redis", positions: dict[str, int]) -> tuple[Any, ...]:
    """Everything, at one moment."""
    found = sold.waiting(client, LANE, positions)
    with transaction.atomic():
        sold.stage(found)
        return (
            sold.units_by_item(positions),
            settled.returned_by_item(positions),
            sold.totals(1, positions),
            settled.ended(positions),
            sold.units_by_user(1, positions),
        )


def assert_all(client: "redis.Redis") -> None:
    """Five holds before T: one paid, one expired, one given back, two held."""
    sums = counted(client, POSITIONS)
    assert sums == (
        {(1, 1001): 6, (1, 1002): 1},
        {(1, 1001): 4},
        (5, 11, 6),
        {1: Ended(paid=1, expired=1, cancelled=1, units_paid=2, units_returned=4, late=1)},
        # What expired counts against its user, what was given back does not.
        {100: 2, 101: 2, 103: 2, 104: 3},
    )


class TestWhere:
    def test_in_the_list(self, redis_client: "redis.Redis") -> None:
        push(redis_client, ENTRIES)
        assert_all(redis_client)

    def test_in_the_rows(self, redis_client: "redis.Redis", storage: Books) -> None:
        storage.store(ENTRIES)
        assert_all(redis_client)

    def test_in_both(self, redis_client: "redis.Redis", storage: Books) -> None:
        storage.store(ENTRIES)
        push(redis_client, ENTRIES)
        assert_all(redis_client)

    @pytest.mark.parametrize("stored", range(1, len(ENTRIES)))
    def test_some_here_and_some_there(
        self, redis_client: "redis.Redis", storage: Books, stored: int
    ) -> None:
        storage.store(ENTRIES[:stored])
        push(redis_client, ENTRIES[stored:])
        assert_all(redis_client)

    def test_as_dead_records(self, redis_client: "redis.Redis", storage: Books) -> None:
        for each in ENTRIES:
            keep_dead(msgspec.json.encode(each))
        assert_all(redis_client)


@pytest.mark.parametrize("where", ["list", "rows", "dead"])
@pytest.mark.parametrize("said", [None, False, True])
def test_an_expiry_gives_the_limit_back_only_if_it_is_to(
    redis_client: "redis.Redis", storage: Books, said: bool | None, where: str
) -> None:
    """What the expiry says, else the setting."""
    entries = [held(1, user_id=101), expired(1, user_id=101, forgiven=said)]
    if where == "list":
        push(redis_client, entries)
    elif where == "rows":
        storage.store(entries)
    else:
        for each in entries:
            keep_dead(msgspec.json.encode(each))
    for setting in (False, True):
        with transaction.atomic():
            sold.stage(sold.waiting(redis_client, LANE, POSITIONS))
            found = sold.units_by_user(1, POSITIONS, expired_gives_back=setting)
        assert found == ({} if (setting if said is None else said) else {101: 2})


@pytest.mark.parametrize("stored", [0, 3, 6, 9, len(ENTRIES)])
def test_what_is_held_and_where_the_settlers_go_on(
    redis_client: "redis.Redis", storage: Books, stored: int
) -> None:
    storage.store(ENTRIES[:stored])
    push(redis_client, ENTRIES[stored:])
    found = sold.waiting(redis_client, LANE, {})
    with transaction.atomic():
        sold.stage(found)
        holds = list(settled.holds_of(1))
        assert settled.settle_ends(LANE) == {f"{SETTLE_SOURCE}:1": 6}
    assert holds == [Hold(Place(SOURCE, 3, 4), DUE_MS, 104, {1001: 2, 1002: 1})]


def test_without_holds_nothing_is_found(redis_client: "redis.Redis", storage: Books) -> None:
    storage.store([held(1, due=None)])
    push(redis_client, [held(2, due=None)])
    assert counted(redis_client, {})[1:4] == ({}, (2, 4, 2), {})
    with transaction.atomic():
        sold.stage(sold.waiting(redis_client, LANE, {}))
        assert list(settled.holds_of(1)) == []
        assert settled.settle_ends(LANE) == {}
