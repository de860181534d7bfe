"""The versioned routes: look, steer, versions, repeats, pages; nothing is changed by a refusal."""

from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.test import Client

from devstack.endpoints import Endpoints
from seckill.audit.verdict import write_last_audit
from seckill.control.control import Control
from seckill.formats.outcomes import MAX_ID
from seckill.lane.client import no_retry
from seckill.lane.keys import Lane
from seckill.models import Activity, Item, StockChange
from tests.helpers import sale
from tests.helpers.storing import Lossy
from tests.integration.web.pages import DEAD_REDIS, Ask, sell, state

pytestmark = pytest.mark.django_db

ONE = "/v1/activities/1"
ACTS: dict[str, Any] = {
    "set_stock": {"value": {"1001": 7}},
    "add_stock": {"value": {"1001": 7}},
    "pause": {},
    "resume": {},
    "finish": {},
    "reopen": {},
    "sync_from_db": {},
}
every_act = pytest.mark.parametrize("act", ACTS)


@pytest.fixture
def on_sale(control: Control) -> int:
    """Activity 1 with ten units of item 1001; its version."""
    return control.set_stock(1, {1001: 10}).version


class TestActs:
    @every_act
    def test_an_act_answers_with_what_it_did(self, ask: Ask, on_sale: int, act: str) -> None:
        answer = ask("POST", f"{ONE}/{act}", {**ACTS[act], "note": "why not"})
        assert answer.status_code == 200, answer.content
        said = answer.json()
        assert (said["activity_id"], said["version"]) == (1, on_sale + 1)
        assert answer["ETag"] == f'"{on_sale + 1}"'
        row = StockChange.objects.get(pk=said["journal_id"])
        assert (row.actor, row.act, row.note) == ("key:till", said["act"], "why not")
        assert (row.old, row.new) == (said["old"], said["new"])
        if act in ("pause", "resume", "finish", "reopen", "sync_from_db"):
            assert ask("POST", f"{ONE}/{act}").status_code == 200

    @every_act
    def test_a_version_that_has_moved(
        self, ask: Ask, on_sale: int, redis_client: "redis.Redis", act: str
    ) -> None:
        before = sale.everything(redis_client), list(Item.objects.values())
        answers = [
            ask("POST", f"{ONE}/{act}", {**ACTS[act], "expected_version": on_sale + 5}),
            ask("POST", f"{ONE}/{act}", ACTS[act], If_Match=f'"{on_sale + 5}"'),
        ]
        assert [answer.status_code for answer in answers] == [409, 409]
        for answer in answers:
            assert answer.json()["version"] == on_sale
            assert str(on_sale + 5) in answer.json()["detail"]
        assert (sale.everything(redis_client), list(Item.objects.values())) == before
        assert ask("POST", f"{ONE}/{act}", ACTS[act], If_Match=f'"{on_sale}"').status_code == 200

    def test_two_versions_that_contradict(self, ask: Ask, on_sale: int) -> None:
        answer = ask("POST", f"{ONE}/pause", {"expected_version": 1}, If_Match='"2"')
        assert answer.status_code == 409
        assert "different versions" in answer.json()["detail"]

    @every_act
    def test_who_may_only_look_steers_nothing(
        self, http: Client, look_key: str, on_sale: int, redis_client: "redis.Redis", act: str
    ) -> None:
        before = state(redis_client)
        for headers, code in (({"X-API-Key": look_key}, 403), ({}, 401)):
            answer = http.post(
                f"{ONE}/{act}", ACTS[act], content_type="application/json", headers=headers
            )
            assert answer.status_code == code
        assert state(redis_client) == before

    @pytest.mark.parametrize(
        ("act", "body", "code", "field"),
        [
            ("add_stock", {"value": {"1001": 0}}, 422, "value.1001"),
            ("add_stock", {"value": {"9": 1}}, 409, None),
            ("add_stock", {}, 422, "value"),
            ("pause", {"expected_version": -1}, 422, "expected_version"),
            ("pause", {"note": "x" * 501}, 422, "note"),
            ("pause", {"note": "\0"}, 422, "note"),
            ("pause", {"more": 1}, 422, "more"),
            ("pause?x=1", {}, 422, "query.x"),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, ask: Ask, on_sale: int, redis_client: "redis.Redis",
        act: str, body: Any, code: int, field: str | None,
    ) -> None:  # fmt: skip
        before = sale.everything(redis_client), list(Item.objects.values())
        answer = ask("POST", f"{ONE}/{act}", body)
        assert answer.status_code == code, answer.content
        if field:
            assert answer.json()["errors"][0]["field"] == field
        assert (sale.everything(redis_client), list(Item.objects.values())) == before


class TestIdempotency:
    def test_a_repeat_is_done_once_and_answers_the_same(
        self, ask: Ask, on_sale: int, redis_client: "redis.Redis"
    ) -> None:
        first = ask("POST", f"{ONE}/add_stock", ACTS["add_stock"], Idempotency_Key="k-1")
        again = ask("POST", f"{ONE}/add_stock", ACTS["add_stock"], Idempotency_Key="k-1")
        assert (first.status_code, first.json()) == (again.status_code, again.json())
        assert "Idempotency-Replayed" not in first
        assert again["Idempotency-Replayed"] == "true"
        assert sale.stock(redis_client) == {1001: 17}

    def test_another_call_under_the_same_key_is_422(
        self, ask: Ask, on_sale: int, redis_client: "redis.Redis"
    ) -> None:
        ask("POST", f"{ONE}/add_stock", ACTS["add_stock"], Idempotency_Key="k-1")
        before = state(redis_client)
        for path, body in (("add_stock", {"value": {"1001": 8}}), ("pause", {})):
            answer = ask("POST", f"{ONE}/{path}", body, Idempotency_Key="k-1")
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (
                422, "Idempotency-Key",
            )  # fmt: skip
        assert state(redis_client) == before

    def test_an_answer_that_redis_lost_is_found_again(
        self, ask: Ask, on_sale: int, stack: Endpoints, redis_client: "redis.Redis", settings: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        sale.load_scripts(redis_client)
        client = Lossy.from_url(stack.redis_url, retry=no_retry())
        client.lose = "EVALSHA"
        settings.RATE_LIMIT = 0
        with monkeypatch.context() as lost:
            lost.setattr("seckill.web.shared.services.redis_client", lambda *_lane: client)
            answer = ask("POST", f"{ONE}/add_stock", ACTS["add_stock"], Idempotency_Key="k-1")
        assert answer.status_code == 503
        client.close()
        assert sale.stock(redis_client) == {1001: 17}
        again = ask("POST", f"{ONE}/add_stock", ACTS["add_stock"], Idempotency_Key="k-1")
        assert (again.status_code, again.json()["version"]) == (200, on_sale + 1)
        assert sale.stock(redis_client) == {1001: 17}
        assert Item.objects.get().allocation == 17

    @pytest.mark.parametrize("name", ["", " ", "x" * 101, "ä"])
    def test_a_bad_key_is_refused(self, ask: Ask, on_sale: int, name: str) -> None:
        answer = ask("POST", f"{ONE}/pause", {}, Idempotency_Key=name)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (
            422, "header.Idempotency-Key",
        )  # fmt: skip


class TestActivities:
    def test_made_shown_changed(self, ask: Ask) -> None:
        made = ask("POST", "/v1/activities", {"name": "Night", "user_limit": 2})
        assert (made.status_code, made["Location"]) == (201, "/v1/activities/1")
        shown = ask("GET", made["Location"])
        assert (shown.json()["name"], shown.json()["version"], shown.json()["live"]) == (
            "Night", 0, None,
        )  # fmt: skip
        assert shown["ETag"] == '"0"'
        assert ask("POST", f"{ONE}/set_stock", ACTS["set_stock"], If_Match='"0"').status_code == 200
        etag = ask("GET", ONE)["ETag"]
        body = {"opens_at": "2026-11-11T20:00:00+08:00", "timeout_ms": 5000.0, "hold_s": 600}
        changed = ask("PATCH", ONE, body, If_Match=etag)
        assert changed.status_code == 200, changed.content
        row = Activity.objects.get()
        assert row.opens_at == datetime(2026, 11, 11, 12, tzinfo=UTC)
        live = ask("GET", ONE).json()["live"]
        assert (live["user_limit"], live["timeout_ms"], live["hold_s"]) == (2, 5000, 600)
        assert ask("GET", ONE).json()["hold_s"] == 600
        assert ask("PATCH", ONE, {"hold_s": 604_801}).status_code == 422
        assert ask("PATCH", ONE, {"opens_at": None}, If_Match=etag).status_code == 409
        assert ask("PATCH", ONE, {"opens_at": None}).status_code == 200
        assert Activity.objects.get().opens_at is None
        assert ask("POST", "/v1/activities", {"activity_id": 1}).status_code == 409
        far = {"closes_at": "2995-10-17T18:44:31+21:20"}
        assert ask("PATCH", ONE, far).status_code == 200
        assert ask("POST", "/v1/activities", {"activity_id": MAX_ID}).status_code == 201
        assert ask("POST", "/v1/activities", {}).status_code == 409
        assert ask("GET", "/v1/activities/77").status_code == 404

    def test_made_with_stock_it_is_on_sale(self, ask: Ask, redis_client: "redis.Redis") -> None:
        body = {"name": "Night", "user_limit": 2, "stock": {"1001": 5}, "note": "at once"}
        made = ask("POST", "/v1/activities", body, Idempotency_Key="k-1")
        assert (made.status_code, made["ETag"]) == (201, f'"{made.json()["version"]}"')
        assert made.json()["new"] == {"name": "Night", "user_limit": 2, "1001": 5}
        again = ask("POST", "/v1/activities", body, Idempotency_Key="k-1")
        assert (again.json(), again["Idempotency-Replayed"]) == (made.json(), "true")
        assert ask("GET", ONE).json()["live"]["stock"] == {"1001": 5}
        assert StockChange.objects.get().note == "at once"
        wrong = ask("POST", "/v1/activities", {"stock": {"1001": -1}})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "stock.1001")
        assert ask("POST", "/v1/activities", {"stock": {}}).status_code == 422
        assert Activity.objects.count() == 1

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, None),
            ({"note": "x"}, None),
            ({"name": None}, "name"),
            ({"opens_at": "2026-11-11T20:00:00"}, "opens_at"),
            ({"opens_at": "tomorrow"}, "opens_at"),
            ({"user_limit": 0}, "user_limit"),
            ({"opens_at": "2026-11-11T20:00Z", "closes_at": "2026-11-11T20:00Z"}, None),
            ({"opens_at": "0001-01-01T00:00:00+23:00"}, "opens_at"),
            ({"closes_at": "9999-12-31T23:59:59-23:00"}, "closes_at"),
        ],
    )
    def test_bad_fields_are_refused(
        self, ask: Ask, on_sale: int, redis_client: "redis.Redis", body: Any, field: str | None
    ) -> None:
        before = sale.everything(redis_client)
        answer = ask("PATCH", ONE, body)
        assert answer.status_code in (409, 422), answer.content
        if field:
            assert answer.json()["errors"][0]["field"] == field
        assert sale.everything(redis_client) == before

    def test_lists_have_pages(self, ask: Ask, control: Control) -> None:
        for number in (1, 2, 3):
            control.create(number)
        control.set_stock(2, {n: n for n in range(1, 6)})
        first = ask("GET", "/v1/activities?limit=2").json()
        assert [a["activity_id"] for a in first["activities"]] == [1, 2]
        assert [a["live"] is None for a in first["activities"]] == [True, False]
        rest = ask("GET", f"/v1/activities?limit=2&after={first['next']}").json()
        assert ([a["activity_id"] for a in rest["activities"]], rest["next"]) == ([3], None)
        items = ask("GET", "/v1/activities/2/items?limit=3").json()
        assert [(i["item_id"], i["left"]) for i in items["items"]] == [(1, 1), (2, 2), (3, 3)]
        rest = ask("GET", f"/v1/activities/2/items?after={items['next']}").json()
        assert ([i["item_id"] for i in rest["items"]], rest["next"]) == ([4, 5], None)
        assert ask("GET", "/v1/activities?limit=501").status_code == 422
        assert ask("GET", "/v1/activities?after=0").status_code == 422


class TestLookups:
    def test_the_journal_the_newest_first(self, ask: Ask, control: Control, on_sale: int) -> None:
        control.pause(1)
        control.set_stock(2, {1: 1})
        page = ask("GET", "/v1/journal?limit=2").json()
        assert [row["act"] for row in page["journal"]] == ["set_stock", "pause"]
        assert page["journal"][1]["new"] == {"paused": True}
        rest = ask("GET", f"/v1/journal?before={page['next']}").json()
        assert ([row["act"] for row in rest["journal"]], rest["next"]) == (["set_stock"], None)
        only = ask("GET", "/v1/journal?activity_id=2").json()
        assert [row["activity_id"] for row in only["journal"]] == [2]

    def test_the_whole_state(
        self, ask: Ask, on_sale: int, control: Control, stack: Endpoints
    ) -> None:
        sell(stack, sale.body(1), sale.body(2, {9: 1}))
        control.pause(1)
        said = ask("GET", "/v1/status").json()
        assert [(a["activity_id"], a["paused"], a["sold"]) for a in said["activities"]] == [
            (1, True, 1)
        ]
        assert (said["lane"]["waiting"], said["lane"]["fence"], said["audit"]) == (1, None, None)
        assert said["workers"] == []
        assert said["verdict"] == {
            "state": "no_consumer", "level": "danger",
            "text": "No consumer runs: what comes now waits in Kafka",
        }  # fmt: skip

    def test_the_last_audit(self, ask: Ask, redis_client: "redis.Redis") -> None:
        assert ask("GET", "/v1/audit").status_code == 404
        write_last_audit(redis_client, False, 9, "never lost: x", "shell:olga", Lane())
        said = ask("GET", "/v1/audit").json()
        assert (said["clean"], said["finding"], said["by"]) == (
            False, "never lost: x", "shell:olga",
        )  # fmt: skip
        assert ask("GET", "/v1/status").json()["audit"]["clean"] is False

    @pytest.mark.parametrize(
        "path", ["/v1/status", "/v1/activities", "/v1/journal", "/v1/orders", "/v1/audit"]
    )
    def test_who_has_no_credential_sees_nothing(self, http: Client, path: str, db: None) -> None:
        assert http.get(path).status_code == 401

    def test_redis_away_is_503(self, ask: Ask, on_sale: int, settings: Any) -> None:
        cache = {**settings.CACHES["default"], "LOCATION": DEAD_REDIS}
        settings.CACHES = {"default": cache}
        for path in ("/v1/status", "/v1/activities", ONE, f"{ONE}/items", "/v1/audit"):
            answer = ask("GET", path)
            assert (answer.status_code, answer.json()["service"]) == (503, "Redis")
        for act, body in ACTS.items():
            assert ask("POST", f"{ONE}/{act}", body).status_code == 503
        # What only PostgreSQL knows can still be read.
        assert ask("GET", "/v1/journal").status_code == 200
