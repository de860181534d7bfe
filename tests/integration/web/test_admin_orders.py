"""The orders in the admin: what is found, what stays fast, and that nothing is changed."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from seckill.models import Activity, Item, Record
from seckill.web.shared.paginator import MAX_ROWS
from tests.integration.web.pages import ACTIVITIES, INVENTORY, ORDERS, SOURCE, rows, seed, text

pytestmark = pytest.mark.django_db


def test_orders_are_listed_newest_first(boss: Client) -> None:
    seed(3)
    page = boss.get(ORDERS)
    assert [record.user_id for record in rows(page)] == [3, 2, 1]
    assert "12 ms" in text(page)
    assert "r-3" in text(page)


def test_orders_by_activity_item_and_time(boss: Client) -> None:
    Activity.objects.create(pk=1)
    Activity.objects.create(pk=2)
    for activity, item in ((1, 1001), (1, 1002), (2, 1001)):
        Item.objects.create(activity_id=activity, item_id=item)
    seed(200)
    seed(3, item=1002, first=1000)
    seed(4, activity=2, first=2000)
    assert len(rows(boss.get(ORDERS + "?activity=2"))) == 4
    assert len(rows(boss.get(ORDERS + "?item=1-1002"))) == 3
    assert len(rows(boss.get(ORDERS + "?item=2-1001"))) == 4
    assert len(rows(boss.get(ORDERS + "?activity=2&item=1-1002"))) == 0
    last = rows(boss.get(ORDERS + "?activity=1&last=1"))
    assert 50 < len(last) < 70
    day = Record.objects.filter(user_id=200).get().ts.strftime("%Y-%m-%d")
    assert len(rows(boss.get(f"{ORDERS}?item=1-1002&ts_from_0={day}&ts_to_0=2999-01-01"))) > 0
    assert len(rows(boss.get(f"{ORDERS}?ts_from_0=2999-01-01"))) == 0
    assert len(rows(boss.get(f"{ORDERS}?ts_to_0=2020-01-01&ts_to_1=10:00:00"))) == 0


@pytest.mark.parametrize(
    ("term", "users"),
    [
        ("7", [7]),
        (" 7 ", [7]),
        ("r-7", [7]),
        ("r-1", [1]),
        ("r-", []),
        ("07", [7]),
        ("-7", []),
        ("7.0", []),
        ("nonsense", []),
        ("٧", []),
        ("9223372036854775808", []),
        ("9" * 500, []),
        ("' OR 1=1 --", []),
        ("%", []),
    ],
)
def test_search_is_exact_and_nonsense_finds_nothing(
    boss: Client, term: str, users: list[int]
) -> None:
    seed(10)
    assert [record.user_id for record in rows(boss.get(ORDERS, {"q": term}))] == users


@pytest.mark.parametrize(
    "query",
    [
        *("q=%00", "activity=x", "item=1", "item=x-1", "item=1-%00", "activity=" + "9" * 30),
        *("last=7", "ts_from_0=x", "ts_to_0=2026-13-01", "ts_to_0=2026-01-01&ts_to_1=x", "p=0"),
        *("p=x", "p=99999999", "o=1.2.x", "all=1", "_facets=True", "activity=%ff", "ts_from_0=%00"),
    ],
)
def test_a_spoilt_address_makes_no_500(boss: Client, query: str) -> None:
    seed(3)
    answer = boss.get(f"{ORDERS}?{query}", follow=True)
    assert answer.status_code == 200
    assert len(rows(answer)) == 3


@pytest.mark.parametrize(
    "query", ["user_id__gt=1", "status__contains=s", "request_id=%00", "source__in=1", "x=1"]
)
def test_look_ups_that_no_filter_sends_are_refused(boss: Client, query: str) -> None:
    assert boss.get(f"{ORDERS}?{query}").status_code == 400


def test_no_query_of_the_list_reads_all_orders(boss: Client) -> None:
    Activity.objects.create(pk=1)
    Item.objects.create(activity_id=1, item_id=1001)
    seed(MAX_ROWS + 50)
    addresses = ["", "?p=100", "?activity=1", "?item=1-1001", "?q=5", "?last=5", "?o=7", "?o=-3.2"]
    addresses += ["?ts_from_0=2020-01-01&ts_to_0=2999-01-01", "?_facets=True", "?all="]
    for address in addresses:
        with CaptureQueriesContext(connection) as queries:
            page = boss.get(ORDERS + address)
        assert 0 < len(rows(page)) <= 100
        asked = [q["sql"] for q in queries if "seckill_record" in q["sql"]]
        assert asked
        for sql in asked:
            if "pg_class" in sql:
                continue
            assert "LIMIT" in sql, sql
            assert "DISTINCT" not in sql
            order = re.search(r"ORDER BY (.*?) LIMIT", sql)
            newest = '"seckill_record"."id" DESC'
            assert order is None or order[1] in (newest, f'"seckill_record"."ts" DESC, {newest}')
        assert len(asked) <= 3


def test_counts_stop_at_a_cap_and_say_so(boss: Client) -> None:
    Activity.objects.create(pk=1)
    seed(MAX_ROWS - 1)
    assert f"{MAX_ROWS - 1:,} orders" in text(boss.get(ORDERS))
    seed(MAX_ROWS, first=MAX_ROWS)
    page = boss.get(ORDERS + "?activity=1")
    assert page.context["cl"].result_count == MAX_ROWS
    assert f"more than {MAX_ROWS:,} orders" in text(page)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE seckill_record")
    assert f"about {2 * MAX_ROWS - 1:,} orders" in text(boss.get(ORDERS))


def test_an_order_shows_its_origin_and_the_other_items(boss: Client) -> None:
    seed(1)
    seed(1, item=1002)
    seed(1, item=1003, first=50)
    one, other, _ = Record.objects.order_by("id")
    page = boss.get(reverse("admin:seckill_record_change", args=[one.pk]))
    shown = text(page)
    assert SOURCE in shown
    assert "Offset 1 " in shown
    assert "1 × item 1002" in shown
    assert "item 1003" not in shown
    assert reverse("admin:seckill_record_change", args=[other.pk]) in page.content.decode()


def test_orders_cannot_be_changed_by_anybody(boss: Client) -> None:
    seed(1)
    record = Record.objects.get()
    change = reverse("admin:seckill_record_change", args=[record.pk])
    assert boss.get(change).status_code == 200
    assert boss.post(change, {"quantity": 5}).status_code == 403
    assert boss.get(ORDERS + "add/").status_code == 403
    assert boss.post(ORDERS + "add/", {"user_id": 1}).status_code == 403
    assert boss.post(reverse("admin:seckill_record_delete", args=[record.pk])).status_code == 403
    boss.post(ORDERS, {"action": "delete_selected", "_selected_action": record.pk, "post": "yes"})
    assert Record.objects.values().get() == Record.objects.filter(quantity=1).values().get()


@pytest.mark.parametrize("number", ["0", "-1", "x", "99999999999999999999", "%00"])
def test_an_order_that_is_not_there(boss: Client, number: str) -> None:
    assert boss.get(f"{ORDERS}{number}/change/").status_code == 302


def test_lines_of_one_request_stand_together_and_ids_are_links(boss: Client) -> None:
    seed(3)
    seed(2, item=1002)
    page = boss.get(ORDERS).content.decode()
    # Offsets 1 and 2 have two lines, but seeded apart: only neighbours are one request.
    assert "goes-on" not in page
    Record.objects.all().delete()
    for first in range(2):
        for item in (1001, 1002):
            seed(1, item=item, first=first)
    page = boss.get(ORDERS).content.decode()
    assert page.count("goes-on") == 2
    assert f'href="{ACTIVITIES}1/change/"' in page
    assert f'href="{INVENTORY}?activity=1&amp;q=1001"' in page
    assert f'href="{ORDERS}?q=r-1"' in page
    assert len(rows(boss.get(f"{ORDERS}?q=r-1"))) == 4
