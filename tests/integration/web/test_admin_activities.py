"""Activities in the admin: their state, saving them, finishing and syncing them."""

import pytest
import redis
from django.test import Client

from devstack.endpoints import Endpoints
from seckill.control.control import Control
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Activity, Item, StockChange
from tests.helpers import sale
from tests.integration.web.pages import ACTIVITIES, INVENTORY, confirm, messages, sell, text

pytestmark = pytest.mark.django_db


def test_activities_show_their_state(operator: Client, control: Control, stack: Endpoints) -> None:
    control.set_stock(1, {1001: 5})
    control.set_stock(2, {1: 1})
    control.finish(2)
    Activity.objects.create(pk=3, name="Later")
    sell(stack, sale.body(1), sale.body(2))
    shown = text(operator.get(ACTIVITIES))
    assert "1 – open 3 2 2" in shown
    assert "finished" in shown
    assert "Later not loaded – –" in shown
    assert "State open Version 1 Left now 3" in text(operator.get(ACTIVITIES + "1/change/"))


def test_an_old_form_overwrites_nothing_that_was_steered(
    operator: Client, control: Control, redis_client: "redis.Redis"
) -> None:
    control.set_stock(1, {1001: 5})
    page = operator.get(ACTIVITIES + "1/change/")
    assert list(page.context["adminform"].form.fields) == ["name"]
    assert "manage.py activity set" in text(page)
    control.configure_fields(1, user_limit=3, timeout_ms=700)
    before = read_lane(redis_client, Lane()).activities[1]
    values = {"name": "Night", "user_limit": "2", "timeout_ms": "900", "opens_at_0": "2031-01-02"}
    answer = operator.post(ACTIVITIES + "1/change/", {**values, "opens_at_1": "03:04:05"})
    assert answer.status_code == 302
    assert read_lane(redis_client, Lane()).activities[1] == before
    row = Activity.objects.get()
    assert (row.name, row.user_limit, row.timeout_ms, row.opens_at) == ("Night", 3, 700, None)


def test_an_activity_is_made(operator: Client, redis_client: "redis.Redis") -> None:
    assert operator.get(ACTIVITIES + "add/").context["adminform"].form.initial["id"] == 1
    values = {"id": "4", "name": "New", "user_limit": "2", "timeout_ms": "900"}
    answer = operator.post(ACTIVITIES + "add/", values, follow=True)
    assert "was added successfully" in messages(answer)
    row = Activity.objects.get()
    assert (row.pk, row.name, row.user_limit, row.timeout_ms) == (4, "New", 2, 900)
    again = operator.post(ACTIVITIES + "add/", {"id": "4", "name": "Twice"})
    assert "already exists" in text(again)
    assert operator.get(ACTIVITIES + "add/").context["adminform"].form.initial["id"] == 5


def test_a_wrong_activity_is_refused(operator: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    answer = operator.post(ACTIVITIES + "1/change/", {"name": "\x00"})
    assert answer.status_code == 200
    assert answer.context["errors"]
    for values in (
        {"opens_at_0": "2031-01-02", "opens_at_1": "10:00", "closes_at_0": "2031-01-02"}
        | {"closes_at_1": "10:00"},
        {"user_limit": "0"},
        {"user_limit": "1000000000001"},
        {"timeout_ms": "0"},
        {"timeout_ms": "9" * 30},
        {"name": "\x00"},
    ):
        answer = operator.post(ACTIVITIES + "add/", {"id": "2", **values})
        assert answer.status_code == 200
        assert answer.context["errors"]
    assert StockChange.objects.count() == Activity.objects.count() == 1


def test_what_is_made_and_named_here_stands_in_the_journal(
    operator: Client, control: Control
) -> None:
    operator.post(ACTIVITIES + "add/", {"id": "4", "name": "New"})
    for _ in range(2):
        operator.post(ACTIVITIES + "4/change/", {"name": "Newer"})
    assert list(
        StockChange.objects.order_by("id").values_list("act", "activity_id", "actor", "new__name")
    ) == [("create_activity", 4, "olga", "New"), ("configure", 4, "olga", "Newer")]


def test_a_name_is_not_changed_without_redis(
    operator: Client, control: Control, away: None
) -> None:
    control.set_stock(1, {1001: 5})
    answer = operator.post(ACTIVITIES + "1/change/", {"name": "New"})
    assert "Nothing was saved: Redis is away" in text(answer)
    assert Activity.objects.get().name == ""


def test_finish_asks_first(operator: Client, control: Control, redis_client: "redis.Redis") -> None:
    control.set_stock(1, {1001: 5})
    page = ACTIVITIES + "1/finish/"
    assert "5 units stay unsold" in text(operator.get(page))
    assert read_lane(redis_client, Lane()).activities[1].over is None
    operator.post(page, {"confirmed": "yes"})
    assert read_lane(redis_client, Lane()).activities[1].over is None
    confirm(operator, page)
    assert read_lane(redis_client, Lane()).activities[1].over == "finished"
    assert "It is already over: finished" in text(operator.get(page))
    Activity.objects.create(pk=2)
    refused = operator.post(ACTIVITIES + "2/finish/", {"confirmed": "yes"}, follow=True)
    assert "not loaded" in messages(refused)
    assert operator.get(ACTIVITIES + "99/finish/").status_code == 404


def test_sync_of_an_activity(
    operator: Client, control: Control, redis_client: "redis.Redis"
) -> None:
    Activity.objects.create(pk=1)
    Item.objects.create(activity_id=1, item_id=1001, allocation=5)
    operator.get(ACTIVITIES + "1/sync/")
    assert sale.stock(redis_client) == {}
    confirm(operator, ACTIVITIES + "1/sync/")
    assert sale.stock(redis_client) == {1001: 5}


def test_activities_and_items_are_not_deleted(boss: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    item = Item.objects.get()
    assert boss.post(ACTIVITIES + "1/delete/", {"post": "yes"}).status_code == 403
    assert boss.post(f"{INVENTORY}{item.pk}/delete/", {"post": "yes"}).status_code == 403
    assert boss.get(INVENTORY + "add/").status_code == 403
