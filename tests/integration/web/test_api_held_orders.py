"""GET /v1/orders?hold=held: exactly the stored orders without a settlement, wherever these are."""

from copy import deepcopy
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from seckill.lane.fence import TORN, fence, new_token
from seckill.lane.keys import Lane
from seckill.models import Activity, Record
from seckill.web.shared import open_holds
from seckill.web.shared.open_holds import may_be_held
from tests.helpers import settling
from tests.helpers.sale import body, keep_dead
from tests.helpers.settling import cancelled, make_due, paid, settle
from tests.helpers.shop import Shop
from tests.integration.web.pages import DEAD_REDIS, ORDERS, Ask, all_orders, seed

HELD = """
SELECT id FROM seckill_record AS r WHERE due IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM seckill_settlement AS s WHERE s.source = r.source AND s.partition = r.partition
    AND s."offset" = r."offset" AND s.item_id = r.item_id) ORDER BY id DESC
"""


def by_rows() -> list[int]:
    """The held orders, the newest first, as the rows say it."""
    with connection.cursor() as cursor:
        cursor.execute(HELD)
        return [number for (number,) in cursor.fetchall()]


def listed(ask: Ask, more: str = "") -> list[int]:
    """What the API says, page by page."""
    return all_orders(ask, f"hold=held{more}")


@pytest.fixture(autouse=True)
def _few_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """So each page has to look further."""
    monkeypatch.setattr("seckill.web.shared.holds.NEAR", 1)


@pytest.fixture
def holding(shop: Shop) -> Shop:
    """Twelve holds of twelve users, with an order of two lines, all stored."""
    Activity.objects.create(id=1, hold_s=600)
    shop.control.set_stock(1, {1001: 30, 1002: 5})
    shop.buy(*(body(user) for user in range(1, 12)), body(12, {1001: 1, 1002: 1}))
    shop.store()
    # An activity without orders that Redis does not have.
    Activity.objects.create(id=7, hold_s=600)
    return shop


def test_what_is_held_stored_and_waiting(holding: Shop, ask: Ask, boss: Client) -> None:
    assert len(listed(ask)) == 13
    settle(holding.client, paid(0, 1), cancelled(1, 2))
    make_due(holding.client, 2)
    settling.expire(holding.client)
    # Over by time, and nobody has let it expire.
    make_due(holding.client, 3)
    holding.store()
    # Settled in Redis, and not stored yet: the rows say held.
    settle(holding.client, paid(4, 5), cancelled(11, 12), start=2)
    # Held in Redis, and no row yet.
    holding.buy(body(13))
    # A settlement that PostgreSQL refused.
    settle(holding.client, paid(5, 6), start=4)
    refused: Any = holding.client.lpop(Lane().list)
    keep_dead(refused)
    found = may_be_held(None)
    assert found is not None
    expected = by_rows()
    assert len(expected) == 10
    assert set(found) == set(expected)
    assert listed(ask) == listed(ask, "&activity_id=1") == expected
    assert listed(ask, "&user_id=5") == [Record.objects.get(user_id=5).pk]
    assert listed(ask, "&until=2999-01-01T00:00Z") == list(
        Record.objects.filter(pk__in=expected).order_by("-ts", "-pk").values_list("pk", flat=True)
    )
    shown = boss.get(f"{ORDERS}?hold=held").context["cl"].result_list
    assert [row.pk for row in shown] == expected
    holding.store()
    assert listed(ask) == by_rows()
    assert len(by_rows()) == 10 - 3 + 1


def test_settled_orders_are_not_read(holding: Shop, ask: Ask, boss: Client) -> None:
    settle(holding.client, *(paid(offset, offset + 1) for offset in range(1, 12)))
    holding.store()
    [held] = by_rows()
    with CaptureQueriesContext(connection) as asked:
        assert listed(ask) == [held]
        assert boss.get(f"{ORDERS}?hold=held").context["cl"].result_count == 1
    lists = [query["sql"] for query in asked if "NOT EXISTS" in query["sql"]]
    assert lists
    # Each question is about orders that are named.
    assert all('"seckill_record"."id" IN (' in sql for sql in lists), lists
    assert f'"seckill_record"."id" IN ({held})' in lists[-1]


def away(holding: Shop, settings: Any) -> None:
    """Redis is away."""
    cache = {**settings.CACHES["default"], "LOCATION": DEAD_REDIS}
    settings.CACHES = {**settings.CACHES, "default": cache}


def fenced(holding: Shop, settings: Any) -> None:
    """The lane is fenced: nobody knows what Redis has lost."""
    assert fence(holding.client, Lane(), TORN, "in a test", token=new_token())
    holding.client.delete(Lane().activity(1).held, Lane().activity(1).due)


def emptied(holding: Shop, settings: Any) -> None:
    """Redis has nothing."""
    holding.client.flushall()


def unknown(holding: Shop, settings: Any) -> None:
    """An activity with orders that Redis does not have."""
    seed(3, activity=2)
    Record.objects.filter(activity_id=2).update(due="2026-01-01T00:00Z")


@pytest.mark.parametrize("lost", [away, fenced, emptied, unknown])
def test_where_redis_cannot_say_it_all_orders_are_read(
    holding: Shop, ask: Ask, settings: Any, lost: Any
) -> None:
    settle(holding.client, paid(0, 1), cancelled(1, 2))
    holding.store()
    lost(holding, settings)
    assert may_be_held(None) is None
    assert len(by_rows()) >= 11
    assert listed(ask) == by_rows()


def test_more_than_a_page_may_cost_is_not_read_from_redis(
    holding: Shop, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding.buy(body(20))
    for most, known in ((14, True), (13, False)):
        monkeypatch.setattr(open_holds, "MOST", most)
        assert (may_be_held(None) is not None) is known
        assert listed(ask) == by_rows()


def test_an_activity_whose_lane_is_away_does_not_hide_another(
    holding: Shop, ask: Ask, settings: Any
) -> None:
    cache = {**deepcopy(settings.CACHES["default"]), "LOCATION": DEAD_REDIS}
    settings.CACHES = {**settings.CACHES, "lane-north": cache}
    settings.LANES = ["main", "north"]
    Activity.objects.create(id=2, lane="north")
    seed(3, activity=2)
    Record.objects.filter(activity_id=2).update(due="2026-01-01T00:00Z")
    assert may_be_held(None) is None
    assert listed(ask) == by_rows()
    found = may_be_held({1})
    assert found is not None
    assert listed(ask, "&activity_id=1") == sorted(found, reverse=True) == by_rows()[3:]
