"""GET /v1/orders: filters, pages that miss nothing, parked orders; and one order."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext

from seckill.dead_letters.records import Kind
from seckill.formats.record import SAME_ORDER
from seckill.models import Activity, Item, Record, Settlement
from tests.helpers import sale
from tests.integration.web.pages import Ask, all_orders, seed

pytestmark = pytest.mark.django_db


@pytest.fixture
def orders(redis_client: "redis.Redis") -> None:
    """Orders of users 1 to 5 on two items and in two activities, a second apart."""
    for first, (activity, item) in enumerate(((1, 1001), (1, 1002), (2, 1001))):
        Activity.objects.get_or_create(pk=activity)
        Item.objects.create(activity_id=activity, item_id=item)
        seed(5, activity=activity, item=item, first=10 * first)


def users(answer: Any) -> list[int]:
    """Whose orders an answer has."""
    assert answer.status_code == 200, answer.content
    return [order["user_id"] for order in answer.json()["orders"]]


def test_orders_by_user_and_by_request(ask: Ask, redis_client: "redis.Redis") -> None:
    seed(5)
    seed(5, item=1002, first=10)
    page = ask("GET", "/v1/orders?user_id=3&limit=1").json()
    assert [(o["user_id"], o["item_id"]) for o in page["orders"]] == [(3, 1002)]
    rest = ask("GET", f"/v1/orders?user_id=3&before={page['next']}").json()
    assert ([o["item_id"] for o in rest["orders"]], rest["next"]) == ([1001], None)
    assert len(ask("GET", "/v1/orders?request_id=r-4").json()["orders"]) == 2
    assert ask("GET", "/v1/orders?request_id=r-4&user_id=3").json()["orders"] == []
    newest = ask("GET", "/v1/orders?limit=3").json()
    assert [o["order_id"] for o in newest["orders"]] == sorted(
        Record.objects.order_by("-id").values_list("id", flat=True)[:3], reverse=True
    )


def test_by_activity_item_and_time(ask: Ask, orders: None) -> None:
    assert users(ask("GET", "/v1/orders?activity_id=2")) == [5, 4, 3, 2, 1]
    assert users(ask("GET", "/v1/orders?activity_id=1&item_id=1002&user_id=4")) == [4]
    assert users(ask("GET", "/v1/orders?activity_id=2&item_id=1002")) == []
    assert len(users(ask("GET", "/v1/orders?item_id=1001"))) == 10
    assert users(ask("GET", "/v1/orders?item_id=1002&user_id=4")) == [4]
    third = Record.objects.get(activity_id=2, user_id=3).ts
    since, until = third.isoformat().replace("+", "%2B"), third + timedelta(seconds=1)
    assert users(ask("GET", f"/v1/orders?activity_id=2&since={since}")) == [5, 4, 3]
    end = until.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert users(ask("GET", f"/v1/orders?activity_id=2&until={end}")) == [3, 2, 1]
    assert users(ask("GET", f"/v1/orders?activity_id=2&since={since}&until={end}")) == [3]


@pytest.mark.parametrize(
    "query",
    ["", "activity_id=1", "until=2999-01-01T00:00Z", "user_id=3", "since=2000-01-01T00:00Z"],
)
def test_the_pages_of_a_query_have_each_order_once(ask: Ask, orders: None, query: str) -> None:
    # The same second, as in a sale.
    Record.objects.filter(item_id=1002).update(ts=Record.objects.earliest("ts").ts)
    found = all_orders(ask, query)
    assert len(found) == len(set(found)) == {"activity_id=1": 10, "user_id=3": 3}.get(query, 15)


def test_an_old_period_is_not_read_from_the_newest_order_down(ask: Ask, orders: None) -> None:
    with CaptureQueriesContext(
        connection,
    ) as asked:
        ask("GET", "/v1/orders?until=2020-01-01T00:00Z")
    (query,) = (q["sql"] for q in asked if 'FROM "seckill_record"' in q["sql"])
    assert query.endswith('"seckill_record"."ts" DESC, "seckill_record"."id" DESC LIMIT 51')


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=2026-11-11T20:00", "query.since"),
        ("since=1700000000", "query.since"),
        ("until=0001-01-01T00:00%2B23:00", "query.until"),
        ("state=lost", "query.state"),
        ("item_id=0", "query.item_id"),
    ],
)
def test_what_cannot_be_is_refused(ask: Ask, orders: None, query: str, field: str) -> None:
    answer = ask("GET", f"/v1/orders?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_one_order(ask: Ask, orders: None) -> None:
    row = Record.objects.get(activity_id=2, user_id=3)
    said = ask("GET", f"/v1/orders/{row.pk}").json()
    assert (said["order_id"], said["user_id"], said["state"]) == (row.pk, 3, "stored")
    assert ask("GET", "/v1/orders/999999999").status_code == 404
    assert ask("GET", "/v1/orders/x").status_code == 422


def test_parked_orders_are_told_apart(ask: Ask, orders: None, redis_client: "redis.Redis") -> None:
    sale.put_on_sale(redis_client, {1001: 10})
    for user in (7, 8, 9):
        sale.keep_dead(sale.record(user, offset=user))
    sale.keep_dead(sale.record(6, offset=6), kind=Kind.OVERLAP)
    sale.keep_dead(b"no record", kind=Kind.UNREADABLE)
    page = ask("GET", "/v1/orders?state=parked&limit=2").json()
    assert [(o["user_id"], o["order_id"], o["state"]) for o in page["orders"]] == [
        (9, None, "parked"),
        (8, None, "parked"),
    ]
    rest = ask("GET", f"/v1/orders?state=parked&limit=2&before={page['next']}").json()
    assert ([o["user_id"] for o in rest["orders"]], rest["next"]) == ([7], None)
    assert users(ask("GET", "/v1/orders?state=parked&user_id=8")) == [8]
    assert users(ask("GET", "/v1/orders?state=parked&until=2020-01-01T00:00Z")) == []
    assert 8 not in users(ask("GET", "/v1/orders"))


def test_a_parked_order_whose_place_another_order_has_is_told(
    ask: Ask, orders: None, redis_client: "redis.Redis"
) -> None:
    """It has no row. `status` and the admin count it as one that needs a person."""
    sale.put_on_sale(redis_client, {1001: 10})
    for user in (7, 8):
        sale.keep_dead(sale.record(user, offset=user))
    rows = {"activity_id": 1, "item_id": 1001, "quantity": 1, "cost_ms": 1, "status": "success"}
    for user, offset in ((70, 7), (8, 8)):
        Record.objects.create(
            **rows, user_id=user, source=sale.SOURCE, partition=0, offset=offset, version=1,
            ts="2026-01-01T00:00:00Z",
        )  # fmt: skip
    assert users(ask("GET", "/v1/orders?state=parked")) == [7]


def test_what_became_of_holds(ask: Ask, orders: None, redis_client: "redis.Redis") -> None:
    due, at = datetime(2026, 1, 1, 0, 10, tzinfo=UTC), datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    Record.objects.filter(activity_id=1, item_id=1001).update(due=due)
    kinds = {2: "paid", 3: "expired", 4: "cancelled"}
    for row in Record.objects.filter(activity_id=1, item_id=1001, user_id__in=kinds):
        kind, message = kinds[row.user_id], {"settle_partition": 0, "settle_offset": row.offset}
        Settlement.objects.create(
            **{name: getattr(row, name) for name in SAME_ORDER}, ts=at, kind=kind,
            reference="pi_1" if kind == "paid" else None,
            **({} if kind == "expired" else {"settle_source": row.source, **message}),
        )  # fmt: skip
    for kind, found in {**{kind: [user] for user, kind in kinds.items()}, "held": [5, 1]}.items():
        assert users(ask("GET", f"/v1/orders?hold={kind}")) == found
        assert all_orders(ask, f"hold={kind}&until=2999-01-01T00:00Z") == [
            Record.objects.get(activity_id=1, item_id=1001, user_id=user).pk for user in found
        ]
    assert users(ask("GET", "/v1/orders?hold=paid&user_id=3")) == []
    said = {
        o["user_id"]: (o["hold"], o["pay_until"], o["settled_at"], o["reference"])
        for o in ask("GET", "/v1/orders?activity_id=1&item_id=1001").json()["orders"]
    }
    until, then = "2026-01-01T00:10:00Z", "2026-01-01T00:05:00Z"
    assert said == {
        1: ("held", until, None, None),
        2: ("paid", until, then, "pi_1"),
        3: ("expired", until, then, None),
        4: ("cancelled", until, then, None),
        5: ("held", until, None, None),
    }
    row = Record.objects.get(activity_id=1, item_id=1001, user_id=2)
    assert ask("GET", f"/v1/orders/{row.pk}").json()["hold"] == "paid"
    [sold, *_] = ask("GET", "/v1/orders?activity_id=2").json()["orders"]
    assert (sold["hold"], sold["pay_until"]) == (None, None)
    assert ask("GET", "/v1/orders?hold=x").status_code == 422
    assert users(ask("GET", "/v1/orders?hold=held&state=parked")) == []


def test_held_orders_are_found_among_the_nearest_and_behind_them(
    ask: Ask, orders: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
    Record.objects.filter(activity_id=1).update(due=due)
    rows = Record.objects.filter(activity_id=1)
    held, by_time = (
        list(rows.order_by(*order).values_list("pk", flat=True))
        for order in (["-pk"], ["-ts", "-pk"])
    )
    assert len(held) > 3
    # Few are near, all are, and every number between: pages are the same, with any filter.
    for near in range(1, Record.objects.count() + 2):
        monkeypatch.setattr("seckill.web.shared.holds.NEAR", near)
        assert all_orders(ask, "hold=held") == held
        assert all_orders(ask, "hold=held&activity_id=1") == held
        assert all_orders(ask, "hold=held&until=2999-01-01T00:00Z") == by_time
        newest = Record.objects.get(pk=held[0])
        assert users(ask("GET", f"/v1/orders?hold=held&user_id={newest.user_id}&limit=1")) == [
            newest.user_id
        ]


def test_a_settlement_that_is_parked_is_no_order(
    ask: Ask, orders: None, redis_client: "redis.Redis"
) -> None:
    sale.put_on_sale(redis_client, {1001: 10})
    sale.keep_dead(sale.record(7, offset=7, due=1_767_225_600_000))
    sale.keep_dead(sale.record(8, offset=8, status="expired"))
    [order] = ask("GET", "/v1/orders?state=parked").json()["orders"]
    assert (order["user_id"], order["hold"], order["pay_until"]) == (
        7, "held", "2026-01-01T00:00:00Z",
    )  # fmt: skip
