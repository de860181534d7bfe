"""The rest of the admin: rights, the journal, API keys, groups, every page of the menu."""

import re

import pytest
import redis
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from seckill.control.control import Control
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.models import ApiKey, Item, StockChange
from tests.helpers import sale
from tests.integration.web.pages import (
    ACTIVITIES,
    INVENTORY,
    JOURNAL,
    KEYS,
    ORDERS,
    logged_in,
    member,
    rows,
    text,
)

pytestmark = pytest.mark.django_db


def test_observers_look_and_do_not_steer(
    observer: Client, control: Control, redis_client: "redis.Redis"
) -> None:
    control.set_stock(1, {1001: 10})
    item = Item.objects.get()
    before = sale.everything(redis_client)
    assert "set_stock/" not in observer.get(INVENTORY).content.decode()
    assert "put_on_sale" not in observer.get(INVENTORY).content.decode()
    for page in (INVENTORY, ACTIVITIES, ORDERS, JOURNAL):
        assert observer.get(page).status_code == 200
    for page in (
        reverse("admin:seckill_item_set_stock", args=[item.pk]),
        INVENTORY + "put_on_sale/",
        ACTIVITIES + "1/finish/",
        ACTIVITIES + "1/sync/",
        reverse("admin:seckill_item_change", args=[item.pk]),
        ACTIVITIES + "1/change/",
        ACTIVITIES + "add/",
    ):
        answer = observer.post(page, {"units": 3, "confirmed": "yes", "name": "x", "id": 4})
        assert answer.status_code == 403, page
    values = {"action": "sync_selected", "_selected_action": [item.pk], "confirmed": "yes"}
    observer.post(INVENTORY, values)
    assert sale.everything(redis_client) == before
    assert StockChange.objects.count() == 1
    assert observer.get(KEYS).status_code == 403
    menu = observer.get(ORDERS).content.decode()
    assert f'href="{JOURNAL}"' in menu
    assert f'href="{KEYS}"' not in menu
    assert 'href="/admin/auth/user/"' not in menu


def test_strangers_see_nothing(client: Client, control: Control) -> None:
    control.set_stock(1, {1001: 10})
    pages = (ORDERS, INVENTORY, ACTIVITIES, JOURNAL, KEYS, ACTIVITIES + "1/finish/")
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


def test_who_comes_to_the_login_page_straight_is_led_on(client: Client) -> None:
    member("olga", "operators")
    user = User.objects.get(username="olga")
    user.set_password("a long enough one")
    user.save()
    sent = {"username": "olga", "password": "a long enough one"}
    assert client.post("/admin/login/", sent)["Location"] == reverse("admin:index")


def test_a_wrong_address_or_a_refusal_is_a_page_that_leads_back(
    boss: Client, observer: Client, control: Control
) -> None:
    control.set_stock(1, {1001: 10})
    chinese = {"Accept-Language": "zh-hans"}
    missing = boss.get(ACTIVITIES + "77/desk/", headers=chinese)
    assert missing.status_code == 404
    assert "页面不存在" in missing.content.decode()
    refused = observer.get(ACTIVITIES + "1/finish/")
    assert refused.status_code == 403
    assert "observers look" in refused.content.decode()
    for page in (missing, refused):
        assert 'href="/admin/"' in page.content.decode()
        assert "<style" not in page.content.decode()


def test_an_empty_list_says_whether_a_search_made_it_empty(boss: Client) -> None:
    assert "Nothing is here yet." in text(boss.get(ORDERS))
    found = text(boss.get(ORDERS, {"q": "5"}))
    assert "Nothing matches this search and these filters." in found
    assert "Show all" in found


def test_steering_needs_the_csrf_token(control: Control, redis_client: "redis.Redis") -> None:
    control.set_stock(1, {1001: 10})
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(member("olga", "operators"))
    assert browser.post(ACTIVITIES + "1/finish/", {"confirmed": "yes"}).status_code == 403
    assert read_lane(redis_client, Lane()).activities[1].over is None


def test_the_journal_is_read_only_and_filtered(boss: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    control.finish(1)
    control.set_stock(2, {7: 1})
    first = StockChange.objects.earliest("id")
    shown = text(boss.get(JOURNAL))
    assert "Set stock applied 2 7: 0 → 1" in shown
    assert "over: – → finished" in shown
    assert "Set stock of activity 1 by test" in text(boss.get(f"{JOURNAL}{first.pk}/change/"))
    assert len(rows(boss.get(JOURNAL + "?act=finish_activity"))) == 1
    assert len(rows(boss.get(JOURNAL + "?activity=2&state=applied&last=5"))) == 1
    assert len(rows(boss.get(JOURNAL + "?act=nonsense"))) == 0
    assert len(rows(boss.get(JOURNAL, {"q": "test"}))) == 3
    assert len(rows(boss.get(JOURNAL, {"q": "tes"}))) == 0
    detail = reverse("admin:seckill_stockchange_change", args=[first.pk])
    assert "applied" in text(boss.get(detail))
    assert boss.post(detail, {"actor": "me"}).status_code == 403
    assert boss.get(JOURNAL + "add/").status_code == 403
    assert boss.post(f"{JOURNAL}{first.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_key_is_shown_once(boss: Client, redis_client: "redis.Redis") -> None:
    page = boss.post(KEYS + "add/", {"name": "till", "can_steer": "on"})
    key = re.search(r"sk_[\w-]{43}", page.content.decode())
    assert key is not None
    assert "no-store" in page["Cache-Control"]
    row = ApiKey.objects.get()
    assert (row.digest, row.can_steer) == (ApiKey.hash(key[0]), True)
    assert Client().get("/status", headers={"X-API-Key": key[0]}).status_code == 200
    for later in (KEYS, f"{KEYS}{row.pk}/change/", "/admin/"):
        content = boss.get(later).content.decode()
        assert key[0] not in content
        assert row.digest not in content
    assert "already exists" in text(boss.post(KEYS + "add/", {"name": "till"}))


def test_a_key_is_revoked(boss: Client, redis_client: "redis.Redis") -> None:
    for name in ("a", "b", "c"):
        boss.post(KEYS + "add/", {"name": name})
    a, b, c = ApiKey.objects.order_by("name")
    assert not a.can_steer
    page = reverse("admin:seckill_apikey_revoke", args=[a.pk])
    assert "401 from now on" in text(boss.get(page))
    assert ApiKey.objects.filter(revoked_at=None).count() == 3
    boss.post(page, {"confirmed": "yes"})
    assert ApiKey.objects.get(pk=a.pk).revoked_at is not None
    boss.post(KEYS, {"action": "revoke_selected", "_selected_action": [a.pk, b.pk]})
    assert [k.pk for k in ApiKey.objects.filter(revoked_at=None)] == [c.pk]
    boss.post(f"{KEYS}{a.pk}/change/", {"can_steer": "on", "revoked_at": ""})
    revoked = ApiKey.objects.get(pk=a.pk)
    assert revoked.revoked_at is not None
    assert not revoked.can_steer
    assert boss.post(f"{KEYS}{a.pk}/delete/", {"post": "yes"}).status_code == 403


def test_only_those_who_may_change_keys_revoke(db: None) -> None:
    user = User.objects.create_user("vera", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    row = ApiKey(name="till")
    row.renew()
    row.save()
    viewer = logged_in(user)
    assert viewer.get(KEYS).status_code == 200
    page = reverse("admin:seckill_apikey_revoke", args=[row.pk])
    assert viewer.post(page, {"confirmed": "yes"}).status_code == 403
    viewer.post(KEYS, {"action": "revoke_selected", "_selected_action": [row.pk]})
    assert ApiKey.objects.get().revoked_at is None


def test_every_page_of_the_menu_works(boss: Client, redis_client: "redis.Redis") -> None:
    for page in (
        "/admin/",
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        "/admin/auth/group/",
        "/admin/auth/group/add/",
        ORDERS,
        INVENTORY,
        ACTIVITIES,
        JOURNAL,
        KEYS,
        KEYS + "add/",
        "/admin/password_change/",
    ):
        assert boss.get(page).status_code == 200, page


def test_the_groups_come_with_the_tables(db: None) -> None:
    operators = Group.objects.get(name="operators").permissions.values_list("codename", flat=True)
    observers = Group.objects.get(name="observers").permissions.values_list("codename", flat=True)
    assert {"change_item", "view_item", "change_activity"} <= set(operators)
    assert all(codename.startswith("view_") for codename in observers)
    assert not {"add_apikey", "change_apikey"} & set(operators)
