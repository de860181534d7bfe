"""Records into PostgreSQL: once each, counted with the same commit, and what PostgreSQL refuses."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db.models import Sum

from seckill.dead_letters.records import Dead, Kind
from seckill.errors import PostgresAway
from seckill.formats.outcomes import MAX_ID
from seckill.log_worker.storage import Storage, _Line
from seckill.models import Activity, DeadRecord, Item, Record
from seckill.postgres.lease import Claim, NotLeading, PostgresOlder
from tests.helpers.books import Books, cut_all_others, record, sold
from tests.helpers.sale import SOURCE


@pytest.fixture
def storage(pg_dsn: str) -> Iterator[Books]:
    """Books on the empty test database."""
    books = Books(pg_dsn)
    yield books
    books.storage.close()


def test_a_row_has_what_the_record_had(storage: Books) -> None:
    assert storage.store([record(70, request_id="r-1"), record(71, user_id=MAX_ID)]) == 2
    row = Record.objects.get(offset=70)
    assert (row.user_id, row.activity_id, row.item_id, row.quantity) == (564, 1, 1001, 2)
    assert (row.cost_ms, row.status, row.ts) == (12, "success", datetime.fromtimestamp(
        1795448539, UTC))  # fmt: skip
    assert (str(row.source), row.partition, row.request_id, row.version) == (SOURCE, 3, "r-1", 4)
    other = Record.objects.get(offset=71)
    assert (other.user_id, other.request_id) == (MAX_ID, None)


def test_a_record_is_stored_and_counted_once(storage: Books) -> None:
    batch = [record(n) for n in range(10)]
    assert storage.store(batch) == 10
    assert storage.store(batch) == 0
    assert storage.store([record(n) for n in range(5, 15)]) == 5
    # Twice within one batch, too.
    assert storage.store([record(20), record(20)]) == 1
    assert Record.objects.count() == 16
    assert sold() == {(1, 1001): 32}


def test_the_identity_is_all_four(storage: Books) -> None:
    others = [
        record(),
        record(item_id=1002),
        record(partition=4),
        record(offset=1),
        record(source="0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a112"),
    ]
    assert storage.store(others) == 5
    assert storage.store([record()]) == 0
    assert storage.refused == []


def test_the_inventory_is_the_sum_of_the_rows(storage: Books) -> None:
    Activity.objects.create(id=1)
    Item.objects.create(activity_id=1, item_id=1001, allocation=500, name="phone")
    storage.store(
        [record(n, activity_id=1 + n % 2, item_id=1001 + n % 3, quantity=n + 1) for n in range(30)]
    )
    rows = Record.objects.values_list("activity_id", "item_id").annotate(Sum("quantity"))
    assert sold() == {(activity, item): units for activity, item, units in rows}
    phone = Item.objects.get(activity_id=1, item_id=1001)
    assert (phone.allocation, phone.name) == (500, "phone")


def test_nothing_is_nothing(storage: Books) -> None:
    assert storage.store([]) == 0


@pytest.mark.parametrize(
    "members",
    [
        {"status": "a\0b"},
        {"request_id": "a\0b"},
        {"request_id": "x" * 65},
    ],
    ids=["NUL in the status", "NUL in the request id", "a long request id"],
)
def test_what_postgresql_refuses_is_kept_apart_and_the_rest_is_stored(
    storage: Books, members: dict[str, Any]
) -> None:
    assert storage.store([record(0), record(1, **members), record(2)]) == 2
    assert len(storage.refused) == 1
    assert set(Record.objects.values_list("offset", flat=True)) == {0, 2}
    assert sold() == {(1, 1001): 4}
    (dead,) = DeadRecord.objects.all()
    assert (dead.kind, dead.reason) == ("refused", storage.refused[0])


def test_what_is_not_to_be_stored_is_kept_apart_alone(storage: Books) -> None:
    dead = Dead(Kind.OVERLAP, b"an order of another Redis", "decided elsewhere", "overlap")
    storage.storage.keep_apart([dead, dead])
    row = DeadRecord.objects.get()
    assert (row.kind, bytes(row.raw), row.reason) == (dead.kind, dead.raw, dead.reason)
    assert not Record.objects.exists()


def test_a_sum_that_no_column_can_hold(storage: Books) -> None:
    assert storage.store([record(0, quantity=MAX_ID), record(1, quantity=MAX_ID)]) == 1
    assert "out of range" in storage.refused[0]
    assert storage.store([record(2, quantity=1)]) == 0
    assert "out of range" in storage.refused[0]
    assert Record.objects.count() == 1
    assert DeadRecord.objects.count() == 2


def test_the_edges_of_the_columns(storage: Books) -> None:
    edge = record(MAX_ID, user_id=MAX_ID, activity_id=MAX_ID, item_id=MAX_ID, cost_ms=MAX_ID,
                  version=MAX_ID, partition=2**31 - 1, timestamp=253_402_300_799,
                  status="漢" * 32, request_id="漢" * 64)  # fmt: skip
    assert storage.store([edge, record(1, timestamp=0)]) == 2


class TestAway:
    def test_nobody_there(self) -> None:
        for work in (lambda s: s.store([record()]), lambda s: s.check()):
            with pytest.raises(PostgresAway) as away:
                work(Books("postgresql://u:hunter2@127.0.0.1:1/none"))
            assert "hunter2" not in str(away.value)
            assert "\n" not in str(away.value)

    @pytest.mark.direct
    def test_a_wrong_password_and_a_missing_database(self, pg_dsn: str) -> None:
        with pytest.raises(PostgresAway, match="does not exist"):
            Storage(pg_dsn + "_not").check()
        with pytest.raises(PostgresAway, match="password") as away:
            Storage(pg_dsn.replace("seckill:", "seckill:not", 1)).check()
        assert pg_dsn.split(":")[2].split("@")[0] not in str(away.value)

    @pytest.mark.direct
    def test_a_cut_connection_is_made_again(self, storage: Books, pg_dsn: str) -> None:
        assert storage.store([record(0)]) == 1
        cut_all_others(pg_dsn)
        with pytest.raises(PostgresAway):
            storage.store([record(1)])
        assert storage.store([record(1)]) == 1
        assert sold() == {(1, 1001): 4}

    def test_a_database_without_our_tables(self, stack: Any) -> None:
        with pytest.raises(PostgresAway, match="migrate"):
            Storage(stack.pg_dsn).check()

    @pytest.mark.direct
    def test_a_read_only_database(self, storage: Books, pg_dsn: str) -> None:
        name = pg_dsn.rpartition("/")[2]
        with psycopg.connect(pg_dsn, autocommit=True) as admin:
            admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
            try:
                with pytest.raises(PostgresAway, match="read-only"):
                    storage.store([record(0)])
            finally:
                admin.execute("SET default_transaction_read_only = off")
                admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        assert storage.store([record(0)]) == 1


class TestLeading:
    """Only what a Redis of the lane's term has decided is stored."""

    def test_a_lane_that_postgresql_does_not_know(self, storage: Books) -> None:
        with pytest.raises(NotLeading):
            storage.storage.store(Claim(), [record(0)], [b""])
        with pytest.raises(PostgresOlder):
            storage.storage.store(Claim("ours", 0, 1), [record(0)], [b""])
        assert not Record.objects.exists()

    def test_an_earlier_and_a_later_term(self, storage: Books) -> None:
        storage.store([record(0)])
        for term, error in ((-1, NotLeading), (1, PostgresOlder)):
            claim = replace(storage.claim, term=storage.claim.term + term)
            with pytest.raises(error):
                storage.storage.store(claim, [record(1)], [b""])
        assert Record.objects.count() == 1
        assert storage.store([record(1)]) == 1


@pytest.mark.direct
def test_a_line_without_an_answer_is_given_up(pg_dsn: str) -> None:
    line = _Line.connect(pg_dsn, autocommit=True)
    assert line.execute("SELECT 1").fetchall() == [(1,)]
    line.answer_limit_s = 0.3
    with pytest.raises(psycopg.OperationalError, match="no answer in 0 s"):
        line.execute("SELECT pg_sleep(600)")
    assert line.closed
    # PostgreSQL does not know it, and would sleep on.
    cut_all_others(pg_dsn)


def test_the_tables_are_there(storage: Books) -> None:
    storage.check()
