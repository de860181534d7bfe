"""What browsers are told with each page, and in which language: headers, cookies, forms, texts."""

import re
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from seckill.control.control import Control
from seckill.lane.keys import rate_bucket
from tests.integration.web.pages import (
    ACTIVITIES,
    DEAD_REDIS,
    INVENTORY,
    JOURNAL,
    KEYS,
    ORDERS,
    member,
    text,
)

pytestmark = pytest.mark.django_db
PAGES = (
    *("/admin/", ORDERS, INVENTORY, ACTIVITIES, JOURNAL, KEYS, KEYS + "add/", "/admin/auth/user/"),
    *(ACTIVITIES + "1/desk/", ACTIVITIES + "1/finish/", ACTIVITIES + "1/window/"),
    *(ACTIVITIES + "1/change/", "/admin/password_change/"),
)


def policy(answer: Any) -> dict[str, list[str]]:
    """{directive: sources}."""
    parts = [part.split() for part in answer["Content-Security-Policy"].split(";") if part.strip()]
    return {name: sources for name, *sources in parts}


def test_the_admin_runs_no_inline_script(boss: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    for page in (*PAGES, "/admin/login/"):
        answer = (Client() if "login" in page else boss).get(page)
        assert answer.status_code == 200, page
        rules = policy(answer)
        # Alpine.js evaluates its attributes: that much, and nothing inline.
        assert rules["script-src"] == ["'self'", "'unsafe-eval'"]
        assert rules["style-src"] == ["'self'"]
        assert rules["default-src"] == rules["base-uri"] == ["'none'"]
        assert rules["frame-ancestors"] == ["'none'"]
        assert rules["form-action"] == rules["connect-src"] == ["'self'"]
        content = answer.content.decode()
        scripts = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", content)
        assert [tag for tag in scripts if 'type="application/json"' not in tag] == [], page
        assert "<style" not in content, page
        assert not re.search(r"\son(click|load|submit|change|input)=", content), page
        assert not re.search(r'(src|href)="(https?:)?//', content), page


@pytest.mark.parametrize("page", ["/docs", "/status", "/nowhere", "/admin/"])
def test_every_answer_has_the_headers(http: Client, page: str) -> None:
    answer = http.get(page)
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    rules = policy(answer)
    assert rules["frame-ancestors"] == ["'none'"]
    if page != "/admin/":
        assert rules["script-src"] == ["'self'"]


def test_the_away_page_needs_nothing_inline(
    boss: Client, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seckill.errors import PostgresAway
    from seckill.web.admin.orders import RecordAdmin

    def away(*args: Any, **kwargs: Any) -> Any:
        raise PostgresAway("gone")

    monkeypatch.setattr(RecordAdmin, "get_changelist_instance", away)
    answer = boss.get(ORDERS)
    assert answer.status_code == 503
    assert "<style" not in answer.content.decode()
    assert policy(answer)["style-src"] == ["'self'"]


def test_a_script_is_told_which_service_is_away(
    boss: Client, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    from seckill.web.admin import desk

    def away(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("gone from 10.0.0.1")

    control.set_stock(1, {1001: 5})
    monkeypatch.setattr(desk, "read_lane", away)
    page = ACTIVITIES + "1/desk/data/"
    answer = boss.get(page, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()) == (503, {"service": "PostgreSQL"})
    assert "no-store" in answer["Cache-Control"]
    shown = boss.get(page, headers={"Accept": "*/*"}).content.decode()
    assert "PostgreSQL is away" in shown
    assert "The sale goes on" in shown
    assert "your last act" not in shown
    assert "your last act" in boss.post(page).content.decode()


def test_the_page_of_an_error_of_ours_needs_nothing() -> None:
    from django.views.defaults import server_error

    page = server_error(RequestFactory().get("/admin/"))
    assert page.status_code == 500
    assert "goes on" in page.content.decode()


def test_pages_of_people_are_not_kept_by_anybody(boss: Client, control: Control) -> None:
    control.set_stock(1, {1001: 5})
    # The form of the own password holds no data.
    for page in PAGES[:-1]:
        kept = boss.get(page)["Cache-Control"]
        assert "no-store" in kept, page
        assert "private" in kept, page


def test_cookies_are_not_for_scripts_or_other_sites(client: Client, db: None) -> None:
    user = member("olga", "operators")
    user.set_password("a long enough one")
    user.save()
    client.get("/admin/login/")
    client.post("/admin/login/", {"username": "olga", "password": "a long enough one"})
    session, token = client.cookies["sessionid"], client.cookies["csrftoken"]
    assert session["httponly"]
    assert session["samesite"] == token["samesite"] == "Lax"


@pytest.mark.parametrize("act", ["add", "stock", "pause", "finish", "sync", "limit", "window"])
def test_acts_need_the_forms_token(control: Control, redis_client: "redis.Redis", act: str) -> None:
    control.set_stock(1, {1001: 5})
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(member("olga", "operators"))
    page = f"{ACTIVITIES}1/{act}/"
    assert browser.get(page).status_code == 200
    answer = browser.post(page, {"confirmed": "yes", "version": "1"})
    assert answer.status_code == 403


def test_people_read_their_language_and_programs_english(
    boss: Client, key: str, control: Control
) -> None:
    control.set_stock(1, {1001: 5})
    chinese = {"Accept-Language": "zh-CN,zh;q=0.9"}
    assert "实时看板" in text(boss.get("/admin/", headers=chinese))
    data = boss.get(ACTIVITIES + "1/desk/data/", headers=chinese).json()
    assert data["activity"]["text"] == "开放中"
    refused = Client().post(
        "/finish_activity?activity_id=77",
        headers={**chinese, "X-API-Key": key},
        content_type="application/json",
    )
    assert (refused.status_code, refused["Content-Language"]) == (404, "en")
    assert "activity 77 is not known" in refused.json()["detail"]


def test_the_language_is_chosen_by_a_form(boss: Client) -> None:
    page = boss.get("/admin/").content.decode()
    assert 'action="/language/setlang/"' in page
    browser = Client(enforce_csrf_checks=True)
    choice = {"language": "zh-hans", "next": "/admin/"}
    assert browser.post("/language/setlang/", choice).status_code == 403
    boss.post("/language/setlang/", choice)
    assert "实时看板" in text(boss.get("/admin/", headers={"Accept-Language": "en"}))
    away = boss.post("/language/setlang/", {**choice, "next": "https://example.org/"})
    assert not away["Location"].startswith("https://example.org")


def test_no_address_of_a_service_is_told(boss: Client, control: Control, away: None) -> None:
    control.set_stock(1, {1001: 5})
    host = DEAD_REDIS.removeprefix("redis://").partition("/")[0]
    for page in (ACTIVITIES + "1/desk/data/", ACTIVITIES + "1/desk/"):
        assert host not in boss.get(page).content.decode()


def test_log_ins_of_an_address_are_limited_before_the_password_is_looked_at(
    redis_client: "redis.Redis",
) -> None:
    User.objects.create_superuser("olga", password="a long enough one")

    def log_in(address: str, password: str) -> Any:
        sent = {"username": "olga", "password": password}
        return Client().post("/admin/login/", sent, REMOTE_ADDR=address)

    redis_client.set(rate_bucket("login:10.0.0.1"), 10**17)
    refused = log_in("10.0.0.1", "a long enough one")
    assert refused.status_code == 200
    assert "Too many tries from your address" in refused.content.decode()
    assert "sessionid" not in refused.cookies
    assert log_in("10.0.0.2", "wrong").status_code == 200
    assert log_in("10.0.0.2", "a long enough one").status_code == 302
    assert redis_client.pttl(rate_bucket("login:10.0.0.2")) > 0
    redis_client.delete(rate_bucket("login:10.0.0.1"))
