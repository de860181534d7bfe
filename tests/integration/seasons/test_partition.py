"""The table of orders becomes partitions: what was right before is right after."""

from collections.abc import Iterator

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from msgspec.structs import replace

from seckill.errors import Refused
from seckill.events.feed import Cursor, Feed
from seckill.models import DeadRecord, Record
from seckill.postgres.seasons import FIRST, NoSeason, is_partitioned, refuse_without_season
from seckill.seasons.partition import _add_check, partition
from seckill.seasons.tables import owners_connection
from seckill.web.shared.paginator import CappedPaginator
from tests.helpers.books import Books, record, sold
from tests.helpers.sale import SOURCE, new_source
from tests.helpers.seasons import ask, begun, partitioned

# Sessions of the owner, which hold a lock.
pytestmark = pytest.mark.direct

SHAPE = """
SELECT conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'seckill_record'::regclass AND contype <> 'n' AND conname NOT LIKE '%_pkey'
UNION ALL SELECT c.relname, '', regexp_replace(pg_get_indexdef(c.oid), 'ON ONLY', 'ON')
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = 'seckill_record'::regclass AND c.relname NOT LIKE '%_pkey' ORDER BY 1, 2
"""
COLUMNS = """
SELECT attname, atttypid::regtype::text, attnotnull, attidentity::text FROM pg_attribute
WHERE attrelid = 'seckill_record'::regclass AND attnum > 0 ORDER BY attname
"""


@pytest.fixture
def books(orders: str) -> Iterator[Books]:
    """What is stored in it."""
    books = Books(orders)
    yield books
    books.storage.close()


def test_all_of_it_stays_and_storing_goes_on(books: Books, orders: str) -> None:
    assert books.store([record(n, request_id=f"r-{n}") for n in range(20)]) == 20
    before, shape, columns = list(Record.objects.values()), ask(SHAPE), ask(COLUMNS)
    (ids_drawn,) = ask("SELECT last_value, is_called FROM seckill_record_id_seq")
    done = partitioned(orders)
    assert ask("SELECT last_value, is_called FROM seckill_record_id_seq") == [ids_drawn]
    assert done.sources == (SOURCE,)
    assert ask("SELECT DISTINCT tableoid::regclass::text FROM seckill_record") == [(FIRST,)]
    assert list(Record.objects.values()) == before
    # The same names, so that a later migration finds them.
    assert (ask(SHAPE), ask(COLUMNS)) == (shape, columns)
    assert ask("SELECT count(*) FROM pg_constraint WHERE conname = 'record_of_first_season'") == [
        (0,)
    ]
    # Half of it is there: by the partition's own index, whatever PostgreSQL calls it.
    assert books.store([record(n, request_id=f"r-{n}") for n in range(10, 30)]) == 10
    assert books.store([record(n, request_id=f"r-{n}") for n in range(30)]) == 0
    assert books.refused == []
    ids = list(Record.objects.order_by("offset").values_list("pk", flat=True))
    assert len(set(ids)) == 30
    assert max(ids[:20]) < min(ids[20:])
    assert sold() == {(1, 1001): 60}
    # Another order under an identity that is taken is no order.
    assert books.store([record(3, user_id=9)]) == 0
    assert "another order is stored under its identity" in books.refused[0]


def test_migrations_and_events_go_on(books: Books, orders: str) -> None:
    books.store([record(n) for n in range(5)])
    partitioned(orders)
    books.store([record(n) for n in range(5, 8)])
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    call_command("migrate", "seckill", "0009_lanes", verbosity=0)
    call_command("migrate", "seckill", verbosity=0)
    with connection.schema_editor() as editor:
        editor.remove_index(Record, Record._meta.indexes[0])
        editor.add_index(Record, Record._meta.indexes[0])
    with psycopg.connect(orders, autocommit=True) as reader:
        chunk = Feed().next(reader, Cursor())
    assert chunk is not None
    assert len(chunk.events) == 8
    assert Record.objects.order_by("-id").first() == Record.objects.get(offset=7)


def test_a_topic_without_a_partition_holds_and_goes_on(books: Books, orders: str) -> None:
    books.store([record(1)])
    partitioned(orders)
    new = new_source()
    with pytest.raises(NoSeason, match=f"no partition for topic {new}.*seasons begin"):
        books.store([record(2), record(1, source=new), record(2, source=new)])
    # Nothing of the batch: not the order that has a partition, and no dead record.
    assert (Record.objects.count(), DeadRecord.objects.count()) == (1, 0)
    with pytest.raises(NoSeason):
        refuse_without_season(orders, new)
    assert begun(orders, new) == f"seckill_record_{new.replace('-', '')}"
    assert begun(orders, new) is None
    refuse_without_season(orders, new)
    assert books.store([record(2), record(1, source=new), record(2, source=new)]) == 3
    # A duplicate in the new partition is known too.
    assert books.store([record(2, source=new), record(3, source=new)]) == 1
    assert books.refused == []
    assert sold() == {(1, 1001): 10}
    # What is refused for another reason becomes a dead record as ever.
    assert books.store([replace(record(4, source=new), quantity=0)]) == 0
    assert DeadRecord.objects.count() == 1


def test_a_new_topic_while_it_is_prepared(books: Books, orders: str) -> None:
    books.store([record(1)])
    with owners_connection(orders) as owner:
        _add_check(owner, (SOURCE,))
    new = new_source()
    with pytest.raises(NoSeason):
        books.store([record(1, source=new)])
    assert DeadRecord.objects.count() == 0
    # Again from the start, after a kill in the middle: now that topic is known.
    assert partitioned(orders, [new]).sources == tuple(sorted([SOURCE, new]))
    assert books.store([record(1, source=new)]) == 1


def test_an_id_that_is_drawn_again_is_found_over_all_partitions(books: Books, orders: str) -> None:
    books.store([record(n) for n in range(5)])
    new = new_source()
    partitioned(orders)
    begun(orders, new)
    ask("SELECT setval('seckill_record_id_seq', 1, true)")
    books.storage.close()
    assert books.store([record(n, source=new) for n in range(5)]) == 5
    assert ask("SELECT count(DISTINCT id) FROM seckill_record") == [(10,)]


def test_rights_are_the_same(books: Books, orders: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE narrow")
        cursor.execute("GRANT SELECT, INSERT ON seckill_record TO narrow")
        cursor.execute("GRANT USAGE ON SEQUENCE seckill_record_id_seq TO narrow")
    try:
        books.store([record(1)])
        partitioned(orders)
        found = ask(
            "SELECT has_table_privilege('narrow', 'seckill_record', 'INSERT'),"
            " has_table_privilege('narrow', 'seckill_record', 'DELETE'),"
            " has_sequence_privilege('narrow', 'seckill_record_id_seq', 'USAGE')"
        )
        assert found == [(True, False, True)]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP OWNED BY narrow")
            cursor.execute("DROP ROLE narrow")


def test_the_estimate_of_the_admin_counts_all_partitions(books: Books, orders: str) -> None:
    books.store([record(n) for n in range(40)])
    partitioned(orders)
    new = new_source()
    begun(orders, new)
    books.store([record(n, source=new) for n in range(30)])
    ask("SELECT 1")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE seckill_record")
    pages = CappedPaginator(Record.objects.all(), 10)
    pages.__dict__["count"] = 1
    assert pages.estimate == 70


def test_what_is_refused(books: Books, orders: str) -> None:
    with pytest.raises(Refused, match="no topic and no order yet"):
        partitioned(orders)
    with pytest.raises(Refused, match="is one table"):
        begun(orders, SOURCE)
    books.store([record(1)])
    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW theirs AS SELECT count(*) FROM seckill_record")
    with pytest.raises(Refused, match="view theirs"):
        partitioned(orders)
    with connection.cursor() as cursor:
        cursor.execute("DROP VIEW theirs")
    with owners_connection(orders), pytest.raises(Refused, match="somebody else"):
        partitioned(orders)
    partitioned(orders)
    with pytest.raises(Refused, match="is partitioned already"):
        partitioned(orders)


def test_nobody_else_than_the_owner(books: Books, orders: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE stranger LOGIN PASSWORD 'x'")
    try:
        dsn = psycopg.conninfo.make_conninfo(orders, user="stranger", password="x")
        with pytest.raises(Refused, match="who owns the tables"):
            partitioned(dsn)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP ROLE stranger")


def test_a_reader_of_hours_stops_nobody(
    books: Books, orders: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the short transaction's lock gives way, and storing goes on in between."""
    monkeypatch.setattr("seckill.seasons.tables.PAUSE_S", 0.01)
    monkeypatch.setattr("seckill.seasons.tables.LOCK_S", 0.1)
    books.store([record(1)])
    said: list[str] = []
    with psycopg.connect(orders) as reader:
        reader.execute("SELECT count(*) FROM seckill_record")

        def ended(line: str) -> None:
            said.append(line)
            if "try 2 of" in line:
                assert books.store([record(2)]) == 1
                reader.rollback()

        with owners_connection(orders) as owner:
            partition(owner, lambda: (), ended)
    assert any("somebody reads" in line for line in said)
    with psycopg.connect(orders) as reader:
        assert is_partitioned(reader.cursor())
