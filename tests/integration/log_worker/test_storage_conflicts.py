"""What PostgreSQL says of rows that conflict, are skipped or refused; and settings that are not
ours.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from psycopg.conninfo import make_conninfo

from seckill.audit.totals import DIFFERING
from seckill.consumer.guard import Guard
from seckill.errors import PostgresAway, PostgresRefuses
from seckill.lane.keys import Lane
from seckill.models import DeadRecord, Item, Record
from seckill.monitoring.fitness import Unfit, check_postgres
from seckill.postgres.access import connect
from seckill.postgres.sold import Waiting, stage
from tests.helpers.books import Books, record, sold
from tests.helpers.sale import put_on_sale

LANE = Lane()


@pytest.fixture
def storage(pg_dsn: str) -> Iterator[Books]:
    """Books on the empty test database."""
    books = Books(pg_dsn)
    yield books
    books.storage.close()


def sql(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def ask(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


@contextmanager
def trigger(body: str) -> Iterator[None]:
    """A trigger of somebody else before each row that is inserted."""
    sql(
        f"CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$",
        "CREATE TRIGGER theirs BEFORE INSERT ON seckill_record FOR EACH ROW"
        " EXECUTE FUNCTION theirs()",
    )
    try:
        yield
    finally:
        sql("DROP FUNCTION theirs CASCADE")


class TestIds:
    def test_ids_that_are_behind_the_rows(self, storage: Books) -> None:
        """A promoted logical replica, or rows that were restored: 40 of 60 were "stored
        already".
        """
        assert storage.store([record(n) for n in range(40)]) == 40
        sql("SELECT setval(pg_get_serial_sequence('seckill_record', 'id'), 5, true)")
        assert storage.store([record(n) for n in range(40, 60)]) == 20
        assert storage.refused == []
        assert Record.objects.count() == 60
        assert sold() == {(1, 1001): 120}

    def test_and_some_of_the_batch_is_there(self, storage: Books) -> None:
        assert storage.store([record(n) for n in range(10)]) == 10
        sql("SELECT setval(pg_get_serial_sequence('seckill_record', 'id'), 1, true)")
        assert storage.store([record(n) for n in range(5, 15)]) == 5
        assert Record.objects.count() == 15
        assert sold() == {(1, 1001): 30}

    def test_and_that_is_seen_after_what_is_there(self, storage: Books) -> None:
        """The first record of the batch is a row, and gets a free id; the next ones get none."""
        assert storage.store([record(n) for n in range(20)]) == 20
        sql(
            "DELETE FROM seckill_record WHERE id = (SELECT min(id) FROM seckill_record) + 4",
            "SELECT setval(pg_get_serial_sequence('seckill_record', 'id'),"
            " (SELECT min(id) FROM seckill_record) + 3, true)",
        )
        assert storage.store([record(0), record(20), record(21)]) == 2
        assert storage.refused == []
        assert Record.objects.count() == 21
        assert sold() == {(1, 1001): 44}


class TestContent:
    @pytest.mark.parametrize(
        "other", [{"user_id": 9}, {"quantity": 7}, {"activity_id": 3}, {"request_id": "x"}]
    )
    def test_another_order_under_the_same_identity_is_kept_apart(
        self, storage: Books, other: dict[str, Any]
    ) -> None:
        storage.store([record(0)])
        assert storage.store([record(1), record(0, **other), record(2)]) == 2
        [reason] = storage.refused
        assert "another order is stored under its identity: user 564" in reason
        [dead] = DeadRecord.objects.all()
        assert (dead.offset, dead.kind) == (0, "refused")
        # It needs a person: the row under its identity does not settle it.
        assert storage.storage.count_dead() == 1
        assert not DeadRecord.objects.filter(DeadRecord.settled()).exists()
        with transaction.atomic():
            stage(Waiting())
            [row] = ask(DIFFERING)
        assert row[2:] == (0, 1001, 1)
        # Read again, after a lost answer: kept once.
        assert storage.store([record(1), record(0, **other), record(2)]) == 0
        assert DeadRecord.objects.count() == 1

    @pytest.mark.parametrize("click", [None, "a click"])
    def test_the_same_order_settles_it(self, storage: Books, click: str | None) -> None:
        """Refused once, and stored again from the topic, which has the click too."""
        bought = record(0, request_id=click)
        with trigger("RAISE 'not now';"):
            assert storage.store([bought]) == 0
        assert storage.storage.count_dead() == 1
        assert storage.store([record(0, request_id=click, cost_ms=0, version=0)]) == 1
        assert storage.storage.count_dead() == 0
        assert DeadRecord.objects.filter(DeadRecord.settled()).count() == 1
        assert storage.store([bought]) == 0
        assert storage.refused == []

    def test_two_of_one_batch(self, storage: Books) -> None:
        assert storage.store([record(0), record(0, user_id=9)]) == 1
        assert len(storage.refused) == 1

    def test_what_only_the_decision_knew_may_differ(self, storage: Books) -> None:
        """A row that came back from the topic has no latency and no version."""
        storage.store([record(0, cost_ms=0, version=0)])
        assert storage.store([record(0)]) == 0
        assert storage.refused == []


class TestTriggers:
    def test_rows_are_counted_as_postgresql_says(self, storage: Books) -> None:
        """A trigger that skips rows: they were trimmed from the list, and lost."""
        with trigger('IF NEW."offset" % 2 = 0 THEN RETURN NULL; END IF; RETURN NEW;'):
            assert storage.store([record(n) for n in range(10)]) == 5
        assert len(storage.refused) == 5
        assert {"trigger or a rule" in reason for reason in storage.refused} == {True}
        assert sorted(DeadRecord.objects.values_list("offset", flat=True)) == [0, 2, 4, 6, 8]
        assert sold() == {(1, 1001): 10}

    def test_a_trigger_that_refuses_some(self, storage: Books) -> None:
        with trigger("IF NEW.\"offset\" = 3 THEN RAISE 'not three'; END IF; RETURN NEW;"):
            assert storage.store([record(n) for n in range(10)]) == 9
        assert storage.refused == ["not three"]
        assert Item.objects.get().sold == 18

    def test_a_constraint_of_somebody_else(self, storage: Books) -> None:
        sql("CREATE UNIQUE INDEX theirs ON seckill_record (user_id)")
        try:
            assert storage.store([record(0), record(1), record(2, user_id=7)]) == 2
            assert "theirs" in storage.refused[0]
            # The same, where the first one is a row already.
            assert storage.store([record(0), record(3, user_id=8), record(4, user_id=8)]) == 1
            assert [reason.count("theirs") for reason in storage.refused] == [1]
        finally:
            sql("DROP INDEX theirs")
        assert sold() == {(1, 1001): 6}


@contextmanager
def role_setting(dsn: str, name: str, value: str) -> Iterator[None]:
    """What a database administrator has set for all, or has by default."""
    database = dsn.rpartition("/")[2]
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{database}" SET {name} = {value}')
        try:
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{database}" RESET {name}')


class TestSettings:
    @pytest.mark.parametrize(
        ("given", "held"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")]
    )
    @pytest.mark.direct
    def test_an_acknowledged_commit_is_on_disk_whatever_the_role_says(
        self, storage: Books, pg_dsn: str, given: str, held: str
    ) -> None:
        check = f"IF current_setting('synchronous_commit') <> '{held}' THEN"
        with (
            role_setting(pg_dsn, "synchronous_commit", given),
            trigger(
                f"{check} RAISE 'it is %', current_setting('synchronous_commit');"
                " END IF; RETURN NEW;"
            ),
        ):
            assert storage.store([record(0)]) == 1
            assert storage.refused == []

    @pytest.mark.parametrize(
        "name",
        ["statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout"],
    )
    def test_limits_of_the_role_do_not_end_a_batch(
        self, storage: Books, pg_dsn: str, name: str
    ) -> None:
        """A batch takes as long as it takes: else it is tried again for ever."""
        storage.store([record(99)])
        storage.storage.close()
        with role_setting(pg_dsn, name, "'100ms'"), trigger("PERFORM pg_sleep(0.2); RETURN NEW;"):
            assert storage.store([record(0)]) == 1

    @pytest.mark.direct
    @pytest.mark.parametrize(
        "name",
        [
            "synchronous_commit",
            "statement_timeout",
            "transaction_timeout",
            "idle_in_transaction_session_timeout",
        ],
    )
    def test_what_it_sets_ends_with_its_transaction(
        self, storage: Books, pg_dsn: str, name: str
    ) -> None:
        """Behind a pgbouncer the session is somebody else's next."""
        given = "off" if name == "synchronous_commit" else "17min"
        with role_setting(pg_dsn, name, f"'{given}'"):
            assert storage.store([record(0)]) == 1
            [found] = storage.storage._connect().execute(f"SHOW {name}").fetchall()
            assert found == (given,)

    @pytest.mark.direct
    def test_a_transaction_that_was_ended_is_tried_again(self, storage: Books, pg_dsn: str) -> None:
        """What PostgreSQL says of it is no bug of ours."""
        storage.storage.close()

        def sleep() -> None:
            line = storage.storage._connect()
            with storage.storage._errors(), line.transaction():
                line.execute("SELECT pg_sleep(1)")

        with (
            role_setting(pg_dsn, "transaction_timeout", "'100ms'"),
            pytest.raises(PostgresAway, match="transaction timeout"),
        ):
            sleep()

    @pytest.mark.direct
    def test_a_right_that_was_taken_away_is_told_as_that(self, storage: Books, pg_dsn: str) -> None:
        dsn = narrow_role(pg_dsn, "SELECT, UPDATE")
        narrow = Books(dsn)
        storage.store([record(0)])
        narrow.claim = storage.claim
        with pytest.raises(PostgresRefuses, match="permission denied for table seckill_record"):
            narrow.store([record(1)])
        narrow.storage.close()
        assert Record.objects.count() == 1
        with pytest.raises(Unfit, match="INSERT on table seckill_record"):
            check_postgres(dsn, print)

    @pytest.mark.direct
    def test_options_of_the_address_are_kept_and_the_guard_works(
        self, storage: Books, pg_dsn: str, redis_client: Any
    ) -> None:
        """An address with options switched the guard off: "PostgreSQL is away"."""
        dsn = make_conninfo(pg_dsn, options="-c application_name=theirs")
        with connect(dsn, 5, 5) as line:
            assert line.execute("SHOW application_name").fetchone() == ("theirs",)
        storage.store([record(5)])
        put_on_sale(redis_client, {1001: 10})
        redis_client.hset(
            LANE.state, mapping={"identity": storage.claim.identity, "term": 1, "generation": 0}
        )
        guard = Guard(redis_client, LANE, dsn, lambda: "s", dict, "test")
        guard.admit(redis_client.info("server")["run_id"])
        guard.close()
        assert redis_client.hget(LANE.state, "fenced") == b"REWOUND"

    def test_nothing_is_prepared(self, storage: Books) -> None:
        """Behind pgbouncer the next transaction is on another connection, which knows none of
        it.
        """
        for n in range(12):
            storage.store([record(n), record(max(0, n - 1))])
        found = storage.storage._connect().execute("SELECT count(*) FROM pg_prepared_statements")
        assert found.fetchone() == (0,)


def narrow_role(dsn: str, rights: str) -> str:
    """The address for a role that may do no more than this."""
    sql(
        "DROP ROLE IF EXISTS narrow",
        "CREATE ROLE narrow LOGIN PASSWORD 'narrow'",
        f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO narrow",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO narrow",
    )
    return make_conninfo(dsn, user="narrow", password="narrow")


@pytest.fixture(autouse=True)
def _without_the_role(pg_dsn: str) -> Iterator[None]:
    yield
    sql("DROP OWNED BY narrow" if _is_role("narrow") else "SELECT 1", "DROP ROLE IF EXISTS narrow")


def _is_role(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [name])
        return cursor.fetchone() is not None


def test_the_services_of_the_suite_are_fit(pg_dsn: str) -> None:
    said: list[str] = []
    check_postgres(pg_dsn, said.append)
    assert [line for line in said if "fsync" not in line] == []


@pytest.mark.direct
def test_an_encoding_that_loses_names(pg_dsn: str) -> None:
    with psycopg.connect(pg_dsn, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS latin")
        admin.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        try:
            with pytest.raises(Unfit, match="has the encoding LATIN1"):
                check_postgres(make_conninfo(pg_dsn, dbname="latin"), print)
        finally:
            admin.execute("DROP DATABASE latin")
