"""Pages and lists of a sale over two lanes: what is of the whole sale is shown as a whole."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from devstack.endpoints import Endpoints
from seckill.models import Item
from seckill.web.admin import overview
from tests.helpers.sale import body
from tests.helpers.split_sale import users_of
from tests.integration.web.pages import (
    ACTIVITIES,
    DEAD_REDIS,
    JOURNAL,
    LATE,
    Ask,
    late,
    messages,
    rows,
    sell,
    text,
)


def test_the_journal_of_the_head_is_that_of_all_parts(
    split: None, ask: Ask, operator: Client
) -> None:
    assert ask("POST", "/v1/activities", {"activity_id": 3}).status_code == 201
    assert ask("POST", "/v1/activities/1/pause", {}).status_code == 200
    listed = operator.get(f"{JOURNAL}?activity=1&act=pause")
    assert [row.activity_id for row in rows(listed)] == [2, 1]
    shown = text(listed)
    assert "2 · part 1 of sale 1" in shown
    assert "1 · part 0 of sale 1" in shown
    assert [row.activity_id for row in rows(operator.get(f"{JOURNAL}?activity=2&act=pause"))] == [2]
    alone = text(operator.get(f"{JOURNAL}{rows(listed)[0].pk}/change/"))
    assert "2 · part 1 of sale 1" in alone
    assert "part 0" not in text(operator.get(f"{JOURNAL}?activity=3"))
    # The desk, the overview and the API say the same.
    last = operator.get(f"{ACTIVITIES}1/desk/data/").json()["done"][:2]
    assert [act["part"] for act in last] == ["part 1 of sale 1", "part 0 of sale 1"]
    last = operator.get(f"{ACTIVITIES}2/desk/data/").json()["done"]
    assert {act["activity"] for act in last} == {2}
    assert "activity 2 part 1 of sale 1" in text(operator.get("/admin/"))
    journal = ask("GET", "/v1/journal?activity_id=1&limit=2").json()["journal"]
    assert [(act["act"], act["activity_id"]) for act in journal] == [("pause", 2), ("pause", 1)]
    operator.cookies["django_language"] = "zh-hans"
    assert "2 · 活动 1 的第 1 部分" in text(operator.get(f"{JOURNAL}?activity=1"))


def test_late_payments_of_the_head_are_those_of_all_parts(
    split: None, ask: Ask, operator: Client
) -> None:
    for activity in (1, 2, 3):
        late(activity, f"pi_{activity}", activity)
    listed = operator.get(f"{LATE}?activity=1")
    assert [row.activity_id for row in rows(listed)] == [2, 1]
    assert "2 · part 1 of sale 1" in text(listed)
    paid = ask("GET", "/v1/late-payments?activity_id=1").json()["late_payments"]
    assert [payment["reference"] for payment in paid] == ["pi_2", "pi_1"]
    for activity, number in ((1, 2), (2, 1)):
        holds = operator.get(f"{ACTIVITIES}{activity}/desk/data/").json()["holds"]
        assert holds["late"] == number
        page = text(operator.get(f"{ACTIVITIES}{activity}/desk/"))
        assert ("whole sale, not settled yet" in page) is (activity == 1)


def test_the_overview_has_one_card_for_the_sale(
    split: None,
    ask: Ask,
    operator: Client,
    stack: Endpoints,
    north_away: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ask("POST", "/v1/activities", {"activity_id": 3, "name": "Other"}).status_code == 201
    assert ask("POST", "/v1/activities/1/pause", {}).status_code == 200
    # Of main; what the others do is seen in what they have on sale.
    sell(stack, *(body(user, {1001: 1}) for user in users_of(0, 2)))

    def card() -> dict[str, Any]:
        sales = operator.get(f"{ACTIVITIES}desk/data/").json()["sales"]
        assert [sale["number"] for sale in sales] == [1, 3]
        return dict(sales[0])

    shown = card()
    assert (shown["name"], shown["lanes"], shown["without"]) == ("1 · Hot", "in 2 lanes", "")
    assert shown["url"] == f"{ACTIVITIES}1/desk/"
    assert (shown["state"], shown["left"], shown["requests"]) == ("paused", "11", "2")
    # What a part does is seen, even if its head does nothing.
    assert ask("POST", "/v1/activities/2/resume", {}).status_code == 200
    assert card()["state"] == "open"
    assert "1 · Hot open in 2 lanes 11 units left" in text(operator.get("/admin/"))
    north_away()
    shown = card()
    assert (shown["left"], shown["requests"], shown["state"]) == ("6", "2", "paused")
    assert shown["without"] == "Without lane north: its Redis is away"
    assert "in 2 lanes Without lane north: its Redis is away 6 units left" in text(
        operator.get("/admin/")
    )
    # A newer activity hides no part of it, however few are shown.
    monkeypatch.setattr(overview, "SALES", 1)
    (shown,) = operator.get(f"{ACTIVITIES}desk/data/").json()["sales"]
    assert shown["without"] == "Without lane north: its Redis is away"


def test_a_head_whose_redis_is_away_leaves_the_card_of_its_sale(
    split: None, operator: Client, settings: Any
) -> None:
    main = {**settings.CACHES["default"], "LOCATION": DEAD_REDIS}
    settings.CACHES = {**settings.CACHES, "default": main}
    (sale,) = operator.get(f"{ACTIVITIES}desk/data/").json()["sales"]
    assert (sale["number"], sale["left"], sale["state"]) == (1, "5", "open")
    assert sale["without"] == "Without lane main: its Redis is away"


def test_the_desk_of_a_lane_that_is_away_names_it_and_shows_what_is_stored(
    split: None, operator: Client, north_away: Callable[[], None]
) -> None:
    Item.objects.filter(activity_id=2).update(sold=4, name="Kettle")
    north_away()
    answer = operator.get(f"{ACTIVITIES}2/desk/data/")
    assert answer.status_code == 503
    told = answer.json()
    assert (told["service"], told["title"]) == ("Redis", "Redis of lane north is away")
    assert "The other lanes of this sale go on." in told["text"]
    known = told["known"]
    assert known["stored"] == 4
    assert known["items"] == [
        {"id": "1001", "name": "Kettle", "left": None, "sold": 4, "loaded": 5}
    ]
    assert [act["activity"] for act in known["done"]][-1] == 2
    assert [part["left"] for part in known["sale"]["parts"]] == [6, None]
    assert known["sale"]["left"] == 6
    operator.cookies["django_language"] = "zh-hans"
    assert operator.get(f"{ACTIVITIES}2/desk/data/").json()["title"] == "通道 north 的 Redis 不可用"


def test_a_list_names_the_lane_that_is_away_and_no_address(
    split: None, operator: Client, north_away: Callable[[], None], settings: Any
) -> None:
    north_away()
    told = "Redis of lane north is away. Units left and versions are unknown now."
    assert messages(operator.get(ACTIVITIES)) == told
    settings.LANES = ["main"]
    main = {**settings.CACHES["default"], "LOCATION": DEAD_REDIS}
    settings.CACHES = {**settings.CACHES, "default": main}
    told = "Redis is away. Units left and versions are unknown now."
    assert messages(operator.get(ACTIVITIES)) == told
