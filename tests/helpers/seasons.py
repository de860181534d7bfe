"""The table of orders in partitions, for tests; and one table again afterwards."""

from collections.abc import Iterable
from typing import Any

from django.db import connection

from seckill.models import Record
from seckill.seasons.begin import begin
from seckill.seasons.partition import Partitioned, partition
from seckill.seasons.tables import owners_connection

LEFT = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'seckill_record%'"


def ask(statement: str) -> list[Any]:
    """The rows of an answer."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def partitioned(dsn: str, sources: Iterable[str] = ()) -> Partitioned:
    """What `manage.py seasons partition` does."""
    with owners_connection(dsn) as owner:
        return partition(owner, lambda: sources, lambda line: None)


def begun(dsn: str, source: str) -> str | None:
    """What `manage.py seasons begin` does."""
    with owners_connection(dsn) as owner:
        return begin(owner, source, lambda line: None)


def one_table_again() -> None:
    """As migrations made it, and empty."""
    for (name,) in ask(LEFT):
        with connection.cursor() as cursor:
            cursor.execute(f'DROP TABLE IF EXISTS "{name}" CASCADE')
    with connection.schema_editor() as editor:
        editor.create_model(Record)
