"""Pages of tables of any size: the row count stops at a cap, and so do the pages.

Owns how many rows a list of the admin counts, and how far it can be paged. A full COUNT(*) and a
large OFFSET both read all rows before the page. Old rows are reached by filters.
"""

from typing import Any

from django.core.paginator import Paginator
from django.db import connections
from django.db.models import QuerySet
from django.utils.functional import cached_property

# The most rows that are counted, and that pages reach.
MAX_ROWS = 10_000


class CappedPaginator(Paginator):
    """A paginator of a query set whose `count` is never above MAX_ROWS."""

    template_name = "seckill/pagination.html"
    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        """Rows, at most MAX_ROWS. Reads no more rows than that."""
        rows: QuerySet[Any] = self.object_list.order_by().values("pk")[:MAX_ROWS]
        return rows.count()

    @property
    def capped(self) -> bool:
        """Whether there may be more rows than `count`."""
        return self.count >= MAX_ROWS

    @property
    def count_text(self) -> str:
        """`count` for people."""
        return f"{self.count:,}"

    @property
    def estimate_text(self) -> str:
        """`estimate` for people."""
        return f"{self.estimate or 0:,}"

    @cached_property
    def estimate(self) -> int | None:
        """The estimated number of rows; None if unknown: filters, or no statistics yet."""
        query = self.object_list.query
        if query.where or query.is_sliced:
            return None
        with connections[self.object_list.db].cursor() as cursor:
            cursor.execute(
                # PostgreSQL keeps no statistics of a partitioned table as a whole.
                "SELECT sum(reltuples)::bigint FROM pg_class,"
                " (SELECT %s::regclass::oid AS id) AS t WHERE relkind = 'r' AND (oid = t.id"
                " OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = t.id))",
                [self.object_list.model._meta.db_table],
            )
            row = cursor.fetchone()
        rows = int(row[0]) if row and row[0] is not None else -1
        return rows if rows > self.count else None
