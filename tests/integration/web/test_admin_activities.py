"""Activities in the admin: their state, saving them, finishing and syncing them."""

from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.test import Client
from django.utils import timezone

from devstack.endpoints import Endpoints
from seckill.control.control import Control
from seckill.errors import RedisAway
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
    Activity.objects.filter(pk=3).update(archived_at=timezone.now())
    assert "Later archived – –" in text(operator.get(ACTIVITIES))
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


ADD = ACTIVITIES + "add/"


def test_an_activity_is_made(operator: Client, redis_client: "redis.Redis") -> None:
    assert operator.get(ADD).context["form"].initial["id"] == 1
    values = {"id": "4", "name": "New", "user_limit": "2", "timeout_ms": "900"}
    asked = text(operator.post(ADD, values))
    assert "It sells nothing until its first stock is set" in asked
    assert Activity.objects.count() == 0, "nothing without confirmation"
    answer = confirm(operator, ADD, values)
    assert "Create an activity, activity 4" in messages(answer)
    row = Activity.objects.get()
    assert (row.pk, row.name, row.user_limit, row.timeout_ms) == (4, "New", 2, 900)
    assert "Activity 4 exists already" in text(operator.post(ADD, {"id": "4", "name": "Twice"}))
    assert operator.get(ADD).context["form"].initial["id"] == 5
    assert sale.stock(redis_client) == {}


def test_rules_and_stock_are_set_on_one_page(operator: Client, redis_client: "redis.Redis") -> None:
    values = {"id": "4", "name": "Night", "user_limit": "2", "timeout_ms": "900", "hold_s": "60"}
    values |= {"items": "1001 500 Phone X 256 GB\n\n1002:7\r\n1003\t20\tEar, phones"}
    asked = text(operator.post(ADD, values))
    assert "Item 1001 · Phone X 256 GB is put on sale: 500 units." in asked
    assert "Together 527 units" in asked
    assert "held for 60 s" in asked
    confirm(operator, ADD, values)
    live = read_lane(redis_client, Lane()).activities[4]
    assert {n: i.left for n, i in live.items.items()} == {1001: 500, 1002: 7, 1003: 20}
    assert (live.user_limit, live.timeout_ms, live.hold_s, live.version) == (2, 900, 60, 1)
    names = Item.objects.values_list("name", flat=True)
    assert list(names) == ["Phone X 256 GB", "", "Ear, phones"]
    acts = StockChange.objects.order_by("id").values_list("act", "actor", "state")
    assert list(acts) == [("create_activity", "olga", "applied")]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("1001", "Line 1: an item, its units"),
        ("1001 5\n1002 x", "Line 2: an item, its units"),
        ("1001 5\n1001 6", "Line 2: item 1001 has a line already"),
        ("0 5", "Line 1: an item is from 1"),
        (f"1001 {10**12 + 1}", "Line 1: an item is from 1"),
        (f"{2**63} 1", "Line 1: an item is from 1"),
        ("1001 -5", "Line 1: an item, its units"),
        ("1001 5 " + "n" * 201, "Line 1: the name is too long"),
        ("\n".join(f"{n} 1" for n in range(1, 1003)), "At most 1000 items"),
    ],
)
def test_wrong_items_are_refused(
    operator: Client, redis_client: "redis.Redis", items: str, said: str
) -> None:
    assert said in text(operator.post(ADD, {"id": "4", "items": items, "confirmed": "yes"}))
    assert Activity.objects.count() == 0


def test_without_redis_nothing_is_begun(operator: Client, away: None) -> None:
    answer = confirm(operator, ADD, {"id": "4", "items": "1001 5"})
    assert "Nothing was saved: Redis is away" in messages(answer)
    assert Activity.objects.count() == StockChange.objects.count() == 0


def test_redis_goes_away_in_the_middle_and_it_is_finished(
    operator: Client, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_arguments: object) -> None:
        raise RedisAway("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(Control, "_put_on_sale", lost)
        values = {"id": "4", "name": "Night", "items": "1001 5 Phone\n1002 6"}
        answer = confirm(operator, ADD, values)
    assert answer.request["PATH_INFO"] == ACTIVITIES + "4/first-stock/"
    assert "Activity 4 exists, but its stock is not set" in messages(answer)
    assert Activity.objects.get().name == "Night"
    assert sale.stock(redis_client) == {}
    # What was wanted is in the journal; names are typed again.
    form = answer.context["form"]
    assert form.initial["items"] == "1001 5\n1002 6"
    again = {"items": form.initial["items"] + " Earphones"}
    confirm(operator, ACTIVITIES + "4/first-stock/", again)
    live = read_lane(redis_client, Lane()).activities[4]
    assert {n: i.left for n, i in live.items.items()} == {1001: 5, 1002: 6}
    # Whoever does it again changes no stock.
    sold = confirm(operator, ACTIVITIES + "4/first-stock/", {"items": "1001 99"})
    assert "on sale already" in messages(sold)
    assert read_lane(redis_client, Lane()).activities[4].items[1001].left == 5


def test_a_past_sale_is_copied(operator: Client, control: Control) -> None:
    opens = datetime(2020, 11, 11, 12, tzinfo=UTC)
    control.create(1, name="Night", opens_at=opens, closes_at=opens + timedelta(hours=2),
                   user_limit=2, timeout_ms=900)  # fmt: skip
    control.set_stock(1, {1001: 5, 1002: 6})
    Item.objects.filter(item_id=1001).update(name="Phone")
    assert f"{ADD}?copy=1" in operator.get(ACTIVITIES).content.decode()
    start = operator.get(f"{ADD}?copy=1").context["form"].initial
    assert (start["id"], start["name"], start["user_limit"], start["timeout_ms"]) == (
        2, "Night", 2, 900,
    )  # fmt: skip
    assert start["items"] == "1001 5 Phone\n1002 6"
    # At the same time of day, when that is next.
    ahead = start["opens_at"] - datetime.now(UTC)
    assert timedelta() < ahead <= timedelta(days=1)
    assert (start["opens_at"].hour, start["closes_at"] - start["opens_at"]) == (
        12, timedelta(hours=2),
    )  # fmt: skip
    for nothing in ("7", "x", "9" * 30, "-1"):
        assert operator.get(f"{ADD}?copy={nothing}").context["form"].initial == {"id": 2}


def test_who_may_only_look_makes_nothing(observer: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    assert observer.get(ADD).status_code == 403
    assert observer.get(ACTIVITIES + "1/first-stock/").status_code == 403
    page = observer.get(ACTIVITIES).content.decode()
    assert "copy=1" not in page
    assert "1/report/" in page


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
        answer = operator.post(ADD, {"id": "2", "confirmed": "yes", **values})
        assert answer.status_code == 200
        assert answer.context["form"].errors
    assert StockChange.objects.count() == Activity.objects.count() == 1


def test_what_is_made_and_named_here_stands_in_the_journal(
    operator: Client, control: Control
) -> None:
    confirm(operator, ADD, {"id": "4", "name": "New"})
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
