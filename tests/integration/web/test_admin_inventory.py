"""The inventory in the admin: what Redis has, and setting stock."""

import pytest
import redis
from django.test import Client
from django.urls import reverse

from devstack.endpoints import Endpoints
from seckill.control.control import Control
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import Activity, Item, StockChange
from tests.helpers import sale
from tests.integration.web.pages import ACTIVITIES, INVENTORY, confirm, messages, rows, sell, text

pytestmark = pytest.mark.django_db


def test_inventory_shows_what_redis_has(boss: Client, control: Control, stack: Endpoints) -> None:
    control.set_stock(1, {1001: 10, 1002: 1})
    sell(stack, sale.body(1, {1001: 4}), sale.body(2, {1002: 1}))
    Item.objects.filter(item_id=1001).update(sold=3, name="Boots")
    page = boss.get(INVENTORY)
    boots, other = rows(page)
    assert (boots.live.left, boots.live.sold, other.live.left) == (6, 4, 0)
    shown = text(page)
    assert "Boots 1 6 3 1 0 40.0 % 10 Set stock" in shown
    assert "2 orders waiting to be stored" in shown
    item = text(boss.get(reverse("admin:seckill_item_change", args=[boots.pk])))
    assert "Left now 6" in item


def test_inventory_looks_at_redis_once_a_page(
    boss: Client, control: Control, redis_client: "redis.Redis"
) -> None:
    control.set_stock(1, dict.fromkeys(range(1, 41), 5))

    def looks() -> int:
        return int(redis_client.info("commandstats")["cmdstat_llen"]["calls"])

    before = looks()
    assert len(rows(boss.get(INVENTORY))) == 40
    # For the records that wait.
    assert looks() - before == 1


def test_inventory_without_redis(boss: Client, control: Control, away: None) -> None:
    control.set_stock(1, {1001: 10})
    page = boss.get(INVENTORY)
    assert "Redis is away" in messages(page)
    assert "– 0 – – 0.0 % 10" in text(page)
    item = Item.objects.get()
    assert boss.get(reverse("admin:seckill_item_change", args=[item.pk])).status_code == 200


def test_inventory_by_activity_and_search(boss: Client, control: Control) -> None:
    control.set_stock(1, {1001: 10, 1002: 1})
    control.set_stock(2, {1001: 1})
    Item.objects.filter(item_id=1002).update(name="Winter boots")
    assert len(rows(boss.get(INVENTORY + "?activity=1"))) == 2
    assert len(rows(boss.get(INVENTORY, {"q": "1001"}))) == 2
    assert len(rows(boss.get(INVENTORY, {"q": "BOOTS"}))) == 1
    assert len(rows(boss.get(INVENTORY, {"q": "9" * 30}))) == 0


def test_only_the_name_of_an_item_is_edited(operator: Client, control: Control) -> None:
    control.set_stock(1, {1001: 10})
    change = reverse("admin:seckill_item_change", args=[Item.objects.get().pk])
    answer = operator.post(change, {"name": "Boots", "allocation": 99, "sold": 7, "item_id": 5})
    assert answer.status_code == 302
    item = Item.objects.get()
    assert (item.name, item.allocation, item.sold, item.item_id) == ("Boots", 10, 0, 1001)


def test_set_stock_asks_twice_and_acts_once(
    operator: Client, control: Control, redis_client: "redis.Redis", stack: Endpoints
) -> None:
    control.set_stock(1, {1001: 4})
    sell(stack, sale.body(1, {1001: 4}))
    page = ACTIVITIES + "1/stock/"
    assert f"{page}?item=1001" in operator.get(INVENTORY).content.decode()
    item_page = reverse("admin:seckill_item_set_stock", args=[Item.objects.get().pk])
    assert operator.get(item_page)["Location"] == f"{page}?item=1001"
    before = sale.everything(redis_client)

    form = operator.get(page, {"item": "1001"})
    assert "Units left from now on" in text(form)
    assert form.context["form"]["item"].value() == "1001"
    assert "This field is required" in text(operator.post(page, {"units": ""}))
    for units in ("-1", "1000000000001", "1.5", "x"):
        answer = operator.post(page, {"item": "1001", "units": units})
        assert answer.context["form"].errors
    assert operator.post(page, {"item": "7", "units": "1"}).context["form"].errors
    question = text(operator.post(page, {"item": "1001", "units": "10"}))
    assert "has 0 units now. It will have 10 units." in question
    assert "Already sold: 4 units, which stay sold. Total ever put on sale: 14 units." in question
    assert "The sale is over (sold out). It opens again at once." in question
    values = {"item": "1001", "units": "10", "confirmed": "yes", "version": "1"}
    assert operator.get(page, values).status_code == 200
    assert sale.everything(redis_client) == before
    assert StockChange.objects.count() == 1

    done = operator.post(page, {**values, "note": "more came"}, follow=True)
    assert "1001: 0 → 10; version 2" in messages(done)
    item = read_lane(redis_client, Lane()).activities[1].items[1001]
    assert (item.left, item.loaded) == (10, 14)
    assert Item.objects.get().allocation == 14
    change = StockChange.objects.latest("id")
    assert (change.actor, change.note) == ("olga", "more came")


def test_a_new_item_is_put_on_sale(operator: Client, redis_client: "redis.Redis") -> None:
    page = INVENTORY + "put_on_sale/"
    assert page in operator.get(INVENTORY).content.decode()
    values = {"activity": "3", "item": "77", "units": "5"}
    assert "The activity is not loaded" in text(operator.post(page, values))
    assert not Item.objects.exists()
    confirm(operator, page, values)
    assert sale.stock(redis_client, 3) == {77: 5}
    assert Item.objects.get().allocation == 5


def test_sync_of_selected_items(
    operator: Client, control: Control, redis_client: "redis.Redis"
) -> None:
    for activity, item, units in ((1, 1001, 10), (1, 1002, 5), (2, 7, 3)):
        Activity.objects.get_or_create(pk=activity)
        Item.objects.create(activity_id=activity, item_id=item, allocation=units)
    values = {
        "action": "sync_selected",
        "_selected_action": [item.pk for item in Item.objects.all()],
    }
    question = text(operator.post(INVENTORY, values))
    assert "Sync from the database: activity 1, 2" in question
    assert sale.stock(redis_client) == {}
    operator.post(INVENTORY, {**values, "confirmed": "yes"})
    assert sale.stock(redis_client) == {1001: 10, 1002: 5}
    assert sale.stock(redis_client, 2) == {7: 3}


def test_steering_without_redis_says_so(operator: Client, control: Control, away: None) -> None:
    control.set_stock(1, {1001: 10})
    page = ACTIVITIES + "1/stock/"
    values = {"item": "1001", "units": "3", "confirmed": "yes", "version": "1"}
    answer = operator.post(page, values, follow=True)
    assert "Nothing was changed: Redis is away" in messages(answer)
    assert StockChange.objects.count() == 1
