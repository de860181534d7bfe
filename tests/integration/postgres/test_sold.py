"""What is sold, from records at each place where one can be: list, rows, dead records."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import redis
from django.db import connection, transaction

from seckill.dead_letters.records import Kind
from seckill.formats.record import WireRecord
from seckill.lane.keys import Lane
from seckill.postgres import sold
from tests.helpers.books import Books, record
from tests.helpers.sale import SOURCE, keep_dead, new_source

LANE = Lane()
# Partition 3, as `record` has it: what is below 10 was accepted before T.
POSITIONS = {f"{SOURCE}:3": 10}


@pytest.fixture
def storage(pg_dsn: str) -> Iterator[Books]:
    books = Books(pg_dsn)
    yield books
    books.storage.close()


@pytest.fixture(autouse=True)
def _database(transactional_db: None) -> None:
    """Rows are committed, and removed after the test."""


def push(client: "redis.Redis", *records: WireRecord) -> None:
    """Into the list, as the script does."""
    for each in records:
        client.lpush(LANE.list, msgspec.json.encode(each))


@contextmanager
def counted(client: "redis.Redis", positions: dict[str, int] = POSITIONS) -> Iterator[sold.Waiting]:
    """All of it, at one moment."""
    found = sold.waiting(client, LANE, positions)
    with transaction.atomic():
        sold.stage(found)
        yield found


def differing() -> list[tuple[int, bool]]:
    """(offset, whether two texts of it differ) of what waits."""
    with connection.cursor() as cursor:
        cursor.execute('SELECT "offset", differs FROM waiting ORDER BY "offset", item_id')
        return cursor.fetchall()


def sums(positions: dict[str, int] = POSITIONS) -> tuple[Any, ...]:
    """All that is counted of activity 1."""
    units = sold.units_by_item(positions)
    assert sold.units_by_item(positions, 1) == {k: n for k, n in units.items() if k[0] == 1}
    return units, sold.totals(1, positions), sold.units_by_user(1, positions)


class TestWhere:
    """Two requests of user 564 at offsets 8 and 9, two units of an item each; not one at 10."""

    RECORDS = (record(8), record(9), record(10))

    def assert_two(self, client: "redis.Redis") -> None:
        with counted(client):
            assert sums() == ({(1, 1001): 4}, (2, 4, 2), {564: 4})

    def test_in_the_list(self, redis_client: "redis.Redis") -> None:
        push(redis_client, *self.RECORDS)
        self.assert_two(redis_client)

    def test_in_the_rows(self, redis_client: "redis.Redis", storage: Books) -> None:
        storage.store(self.RECORDS)
        self.assert_two(redis_client)

    def test_dead(self, redis_client: "redis.Redis") -> None:
        for each in self.RECORDS:
            keep_dead(msgspec.json.encode(each))
        self.assert_two(redis_client)

    def test_at_each_place_at_once(self, redis_client: "redis.Redis", storage: Books) -> None:
        """Between its commit and its trim a record is a row and in the list."""
        storage.store(self.RECORDS)
        push(redis_client, *self.RECORDS, *self.RECORDS)
        for each in self.RECORDS:
            keep_dead(msgspec.json.encode(each))
        self.assert_two(redis_client)
        with counted(redis_client):
            assert differing() == [(8, False), (9, False)]

    def test_one_at_each(self, redis_client: "redis.Redis", storage: Books) -> None:
        storage.store([record(1)])
        push(redis_client, record(2))
        keep_dead(msgspec.json.encode(record(3)))
        with counted(redis_client):
            assert sums() == ({(1, 1001): 6}, (3, 6, 3), {564: 6})

    @pytest.mark.parametrize("kind", [Kind.UNREADABLE, Kind.OVERLAP])
    def test_dead_and_never_accepted_in_this_lane(
        self, redis_client: "redis.Redis", kind: Kind
    ) -> None:
        keep_dead(msgspec.json.encode(record(1)), kind=kind)
        keep_dead(b"nothing that can be read", kind=Kind.REFUSED)
        with counted(redis_client):
            assert sums() == ({}, (0, 0, 0), {})

    def test_a_partition_without_a_position_counts(
        self, redis_client: "redis.Redis", storage: Books
    ) -> None:
        """In each of the three, whatever its offset is; so do partitions and sources like it."""
        other = new_source()
        storage.store([record(50, partition=4), record(8)])
        push(redis_client, record(50, source=other), record(8, partition=5))
        keep_dead(msgspec.json.encode(record(50, partition=6)))
        with counted(redis_client):
            assert sums() == ({(1, 1001): 10}, (5, 10, 5), {564: 10})


def test_each_sum_is_of_its_own(redis_client: "redis.Redis", storage: Books) -> None:
    """Stored and waiting: a request of two items, another user, another activity."""
    one = [record(1, quantity=3), record(1, item_id=1002, quantity=4)]
    two = [record(2, user_id=7, quantity=5), record(3, activity_id=2, quantity=6)]
    storage.store([one[0], two[0]])
    push(redis_client, one[1], two[1], record(4, quantity=1))
    with counted(redis_client):
        units = {(1, 1001): 9, (1, 1002): 4, (2, 1001): 6}
        assert sums() == (units, (3, 13, 4), {564: 8, 7: 5})
        assert sold.totals(2, POSITIONS) == (1, 6, 1)
        assert sold.units_by_user(2, POSITIONS) == {564: 6}


@pytest.mark.parametrize(
    "other", [{"source": new_source()}, {"partition": 4}, {"offset": 5}, {"item_id": 1002}]
)
def test_a_row_of_another_identity_hides_nothing(
    redis_client: "redis.Redis", storage: Books, other: dict[str, Any]
) -> None:
    storage.store([record(**{"offset": 4, **other})])
    push(redis_client, record(4))
    with counted(redis_client):
        assert sum(sold.units_by_item(POSITIONS).values()) == 4


class TestTwoTextsOfOneRecord:
    @pytest.mark.parametrize("member", ["user_id", "activity_id", "quantity", "request_id"])
    def test_in_the_list(self, redis_client: "redis.Redis", member: str) -> None:
        push(redis_client, record(1), record(2), record(3))
        push(redis_client, record(2, **{member: "9" if member == "request_id" else 9}))
        with counted(redis_client):
            assert differing() == [(1, False), (2, True), (3, False)]

    @pytest.mark.parametrize("member", ["user_id", "activity_id", "quantity"])
    @pytest.mark.parametrize("value", [1, 999])
    def test_and_a_dead_one(self, redis_client: "redis.Redis", member: str, value: int) -> None:
        push(redis_client, record(1, activity_id=5), record(2, activity_id=5))
        keep_dead(msgspec.json.encode(record(2, activity_id=5)))
        with counted(redis_client):
            assert differing() == [(1, False), (2, False)]
        keep_dead(msgspec.json.encode(record(2, **{"activity_id": 5, member: value})))
        with counted(redis_client):
            assert differing() == [(1, False), (2, True)]


def test_what_is_no_record_is_counted_and_the_first_few_are_kept(
    redis_client: "redis.Redis",
) -> None:
    push(redis_client, record(1))
    for number in range(sold.EXAMPLES + 2):
        redis_client.lpush(LANE.list, f"no record {number}")
    push(redis_client, record(2))
    with counted(redis_client) as found:
        assert found.unreadable_count == sold.EXAMPLES + 2
        assert {raw for raw, _ in found.unreadable} <= {
            f"no record {number}".encode() for number in range(sold.EXAMPLES + 2)
        }
        assert len(found.unreadable) == sold.EXAMPLES
        assert all("JSON is malformed" in reason for _, reason in found.unreadable)
        assert sums() == ({(1, 1001): 4}, (2, 4, 2), {564: 4})


def test_a_second_count_begins_anew(redis_client: "redis.Redis") -> None:
    """Also within one transaction, as for a load that is followed by a sync."""
    push(redis_client, record(1))
    with counted(redis_client):
        redis_client.delete(LANE.list)
        push(redis_client, record(2, quantity=3))
        sold.stage(sold.waiting(redis_client, LANE, POSITIONS))
        assert sums() == ({(1, 1001): 3}, (1, 3, 1), {564: 3})
