"""Lists as CSV: streamed, with the list's filters and search, in constant memory.

PostgreSQL writes the lines (COPY), one page at a time; each page starts after the previous one
(keyset). So no query or snapshot stays open for a slow reader, and no OFFSET is needed. If a
service is lost midway, the response is cut off, and the reader sees that.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import (
    Case,
    CharField,
    DateTimeField,
    Expression,
    F,
    Func,
    Q,
    QuerySet,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Concat
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils import timezone

from seckill.web.admin.base import SeckillAdmin

# Rows of one query.
PAGE_ROWS = 20_000
# Spreadsheets read a text that starts with one of these as a formula, so it gets an apostrophe.
FORMULA = "=+-@\t\r\n＝＋－＠"
# Without it spreadsheets assume a local encoding.
BOM = "\ufeff"


class CsvExport(SeckillAdmin):
    """Mixin that adds `export/` to a list. The columns are fields, or what `export_rows` adds.
    Their names are the header.
    """

    change_list_template = "seckill/list.html"
    export_columns: tuple[str, ...] = ()
    export_name = ""

    def get_urls(self) -> list[URLPattern]:
        """The URLs of the list and of the export."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/", view, name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """All rows that the list shows with these parameters, from all pages."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect("../")
        response = StreamingHttpResponse(
            self.export_chunks(request, rows), content_type="text/csv; charset=utf-8"
        )
        stamp = timezone.now().strftime("%Y%m%d-%H%M%S")
        response["Content-Disposition"] = f'attachment; filename="{self.export_name}-{stamp}.csv"'
        response["Cache-Control"] = "private, no-store"
        return response

    def export_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with columns that are no fields."""
        return rows

    def export_chunks(self, request: HttpRequest, rows: QuerySet[Any]) -> Iterator[bytes]:
        """The file in chunks."""
        yield f"{BOM}{','.join(self.export_columns)}\n".encode()
        for page in pages(self.export_rows(rows)):
            yield from copied(page, self.export_columns)


def pages(rows: QuerySet[Any], page_rows: int = PAGE_ROWS) -> Iterator[QuerySet[Any]]:
    """An ordered query in parts of `page_rows` rows. Its order must be unique."""
    order = [str(name) for name in rows.query.order_by]
    keys = [name.removeprefix("-") for name in order]
    signs = [name.startswith("-") for name in order]
    rest = rows
    while True:
        last = rest.values_list(*keys)[page_rows - 1 : page_rows].first()
        if last is None:
            yield rest
            return
        yield rest.exclude(_after(keys, signs, last))
        rest = rows.filter(_after(keys, signs, last))


def _after(keys: Sequence[str], descending: Sequence[bool], last: Sequence[Any]) -> Q:
    """Rows after `last` in this order. A bound on the first key alone lets its index find them."""
    condition = Q()
    for depth in range(len(keys)):
        one = Q(**{keys[i]: last[i] for i in range(depth)})
        one &= Q(**{f"{keys[depth]}__{'lt' if descending[depth] else 'gt'}": last[depth]})
        condition |= one
    if len(keys) > 1:
        condition &= Q(**{f"{keys[0]}__{'lte' if descending[0] else 'gte'}": last[0]})
    return condition


def copied(rows: QuerySet[Any], columns: Sequence[str]) -> Iterator[bytes]:
    """The rows as CSV from PostgreSQL: texts without formulas, times as ISO 8601 in UTC."""
    exported = {
        f"csv_{name}": F(name)
        if name in rows.query.annotations
        else _column(rows.model._meta.get_field(name))
        for name in columns
    }
    sql, parameters = rows.annotate(**exported).values_list(*exported).query.sql_with_params()
    with connection.cursor() as cursor:
        copy = cursor.cursor.copy(f"COPY ({sql}) TO STDOUT WITH (FORMAT csv)", parameters)
        with copy as answer:
            parts = [bytes(part) for part in answer]
    yield b"".join(parts)


def _column(field: Any) -> Expression | F:
    column = F(field.name)
    if isinstance(field, DateTimeField):
        utc = Func(Value("UTC"), column, function="timezone")
        iso = Value('YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        return Func(utc, iso, function="to_char", output_field=TextField())
    if isinstance(field, CharField):
        formula = Q(**{f"{field.name}__regex": f"^[{FORMULA.replace('-', '')}-]"})
        safe = Concat(Value("'"), column, output_field=TextField())
        return Case(When(formula, then=safe), default=column, output_field=TextField())
    return column


def lines(rows: Iterable[Iterable[Any]]) -> Iterator[bytes]:
    """The same kind of file from other rows, the header first."""
    writer: Any = csv.writer(_Lines())
    for number, row in enumerate(rows):
        cells = [
            "'" + cell if isinstance(cell, str) and cell.startswith(tuple(FORMULA)) else cell
            for cell in row
        ]
        yield (writer.writerow(cells) if number else BOM + writer.writerow(cells)).encode()


class _Lines:
    """A file for csv.writer that returns each line."""

    def write(self, line: str) -> str:
        """The line."""
        return line
