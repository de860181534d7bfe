"""CSV export: what it holds, that it honours the list's filters, and that its memory stays flat."""

import csv
import io
import tracemalloc
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from seckill.control.control import Control
from seckill.models import Activity, Item, Record
from seckill.web.admin import export
from tests.integration.web.pages import INVENTORY, JOURNAL, ORDERS, SOURCE, seed

pytestmark = pytest.mark.django_db
OUT = ORDERS + "export/"


def read(answer: Any) -> list[dict[str, str]]:
    """The rows of an export."""
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.streaming
    content = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(content)))


def test_all_orders_in_the_lists_order(observer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seed(25)
    found = read(observer.get(OUT))
    assert [row["user_id"] for row in found] == [str(user) for user in range(25, 0, -1)]
    row, record = found[0], Record.objects.get(user_id=25)
    assert (row["source"], row["offset"], row["request_id"]) == (SOURCE, "25", "r-25")
    assert row["ts"] == record.ts.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.parametrize("page_rows", [1, 7, 25, 1000])
@pytest.mark.parametrize("order", [("-id",), ("-ts", "-id"), ("quantity", "-id")])
def test_pages_hold_each_row_once(page_rows: int, order: tuple[str, ...]) -> None:
    seed(12)
    seed(13, first=500)
    rows = Record.objects.order_by(*order)
    pages = [list(page) for page in export.pages(rows, page_rows)]
    assert [row for page in pages for row in page] == list(rows)
    assert max(len(page) for page in pages) <= page_rows


def test_the_lists_filters_and_search_hold(boss: Client) -> None:
    Activity.objects.create(pk=1)
    Item.objects.create(activity_id=1, item_id=1002)
    seed(20)
    seed(3, item=1002, first=100)
    assert len(read(boss.get(OUT + "?item=1-1002"))) == 3
    assert len(read(boss.get(OUT + "?q=r-7"))) == 1
    day = "2999-01-01"
    assert len(read(boss.get(f"{OUT}?activity=1&ts_to_0={day}"))) == 23
    assert boss.get(OUT + "?activity=x").status_code == 302
    page = boss.get(ORDERS + "?item=1-1002&p=1").content.decode()
    assert 'href="export/?item=1-1002"' in page


@pytest.mark.parametrize("word", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=x", "\n=x", "＝1"])
def test_no_text_is_a_formula(boss: Client, control: Control, word: str) -> None:
    control.set_stock(1, {1001: 5})
    seed(1)
    Record.objects.update(request_id=word)
    Item.objects.update(name=word)
    text = b"".join(boss.get(OUT).streaming_content).decode("utf-8-sig")
    cell = next(csv.DictReader(io.StringIO(text, newline="")))["request_id"]
    assert cell == "'" + word
    text = b"".join(boss.get(INVENTORY + "export/").streaming_content).decode("utf-8-sig")
    assert next(csv.DictReader(io.StringIO(text, newline="")))["name"] == "'" + word


def test_text_that_is_no_formula_stays(boss: Client) -> None:
    seed(1)
    Record.objects.update(request_id='a,"b"\n中文-=+')
    assert read(boss.get(OUT))[0]["request_id"] == 'a,"b"\n中文-=+'


def test_inventory_with_what_is_left(boss: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5, 1002: 7})
    found = read(boss.get(INVENTORY + "export/"))
    assert [(row["item_id"], row["allocation"], row["left_now"]) for row in found] == [
        ("1001", "5", "5"),
        ("1002", "7", "7"),
    ]


def test_inventory_without_redis(boss: Client, control: Control, away: None) -> None:
    control.set_stock(1, {1001: 5})
    assert read(boss.get(INVENTORY + "export/"))[0]["left_now"] == ""


def test_the_journal(boss: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    control.finish(1)
    found = read(boss.get(JOURNAL + "export/?act=finish_activity"))
    assert [(row["actor"], row["new"]) for row in found] == [("test", '{"over": "finished"}')]


def test_strangers_export_nothing(client: Client, db: None) -> None:
    assert client.get(OUT)["Location"].startswith("/admin/login/")


def test_memory_stays_flat_and_every_query_is_bounded(boss: Client) -> None:
    seed(90_000)
    answer = boss.get(OUT)
    stream = iter(answer.streaming_content)
    next(stream)
    tracemalloc.start()
    try:
        with CaptureQueriesContext(connection) as queries:
            biggest = max(len(chunk) for chunk in stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert biggest < 4_000_000
    assert peak < 12_000_000
    assert all("LIMIT 1" in q["sql"] for q in queries if "COPY" not in q["sql"])
