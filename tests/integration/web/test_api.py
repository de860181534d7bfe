"""The control API: acts with the bodies of the original, status, documentation."""

import contextlib
from typing import Any

import pytest
import redis
from django.test import Client
from django.utils import timezone

from devstack.endpoints import Endpoints
from seckill.consumer.engine import Engine
from seckill.formats.outcomes import MAX_ID, MAX_UNITS
from seckill.lane.keys import Lane
from seckill.models import Activity, StockChange
from tests.helpers import sale
from tests.integration.web.pages import STEERING

pytestmark = pytest.mark.django_db


def test_set_stock_takes_the_originals_body(call: Any, redis_client: "redis.Redis") -> None:
    answer = call("/set_stock?activity_id=1", {"value": {"1001": 10, "1002": 5}})
    assert answer.status_code == 200
    assert answer.json() == {
        "act": "set_stock",
        "activity_id": 1,
        "version": 1,
        "old": {"1001": 0, "1002": 0},
        "new": {"1001": 10, "1002": 5},
        "journal_id": StockChange.objects.get().pk,
    }
    assert sale.stock(redis_client) == {1001: 10, 1002: 5}
    entry = StockChange.objects.get()
    assert (entry.actor, entry.act, entry.version) == ("key:till", "set_stock", 1)
    assert entry.state == StockChange.State.APPLIED


@pytest.mark.parametrize("path", ["/finish_activity", "/sync_from_db"])
@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"activity_id": 1}'])
def test_acts_without_a_body(call: Any, path: str, body: bytes) -> None:
    call("/set_stock", {"value": {"1001": 10}})
    answer = call(path, body)
    assert answer.status_code == 200
    assert (answer.json()["activity_id"], answer.json()["version"]) == (1, 2)


def test_the_activity_comes_from_query_or_body(call: Any, redis_client: "redis.Redis") -> None:
    assert call("/set_stock?activity_id=7", {"value": {"5": 1}}).json()["activity_id"] == 7
    assert call("/set_stock", {"value": {"5": 2}, "activity_id": 8}).json()["activity_id"] == 8
    both = call("/set_stock?activity_id=8", {"value": {"5": 3}, "activity_id": 8})
    assert both.json()["activity_id"] == 8
    assert sale.stock(redis_client, 7) == {5: 1}
    assert sale.stock(redis_client, 8) == {5: 3}
    assert call("/finish_activity?activity_id=8").json()["new"] == {"over": "finished"}


def test_the_largest_values(call: Any, redis_client: "redis.Redis") -> None:
    answer = call(f"/set_stock?activity_id={MAX_ID}", {"value": {str(MAX_ID): MAX_UNITS}})
    assert answer.status_code == 200
    assert sale.stock(redis_client, MAX_ID) == {MAX_ID: MAX_UNITS}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense/x"])
def test_the_body_is_json_whatever_its_type_says(
    http: Client, key: str, redis_client: "redis.Redis", kind: str
) -> None:
    answer = http.generic(
        "POST", "/set_stock", b'{"value": {"1": 1}}', kind, headers={"X-API-Key": key}
    )
    assert answer.status_code == 200


def test_status_of_a_sale(
    call: Any, http: Client, key: str, stack: Endpoints, redis_client: "redis.Redis"
) -> None:
    call("/set_stock", {"value": {"1001": 3, "1002": 50}})
    call("/set_stock?activity_id=2", {"value": {"7": 1}})
    engine = Engine(stack.redis_url, Lane(), default_timeout_ms=60_000)
    bodies = [
        sale.body(1),
        sale.body(2, {1001: 2, 1002: 5}),
        sale.body(3),
        sale.body(4, at=1),
        sale.body(5, {9999: 1}),
        sale.body(6, {7: 1}, activity_id=2),
        sale.body(7, activity_id=99),
        b"no request",
    ]
    engine.decide([sale.batch(bodies)])
    engine.close()
    headers = {"X-API-Key": key}

    status = http.get("/status", headers=headers).json()
    assert (status["activity_id"], status["loaded"], status["version"]) == (1, True, 1)
    assert (status["over"], status["why"]) == (False, None)
    assert status["stock"] == {"1001": 0, "1002": 45}
    assert status["put_on_sale"] == {"1001": 3, "1002": 50}
    assert (status["sold"], status["records"]) == (8, 3)
    counts = [status[name] for name in ("total", "success", "timeout", "fail")]
    assert counts == [5, 2, 1, 2]
    assert {name: n for name, n in status["outcomes"].items() if n} == {
        "ACCEPTED": 2,
        "SOLD_OUT": 1,
        "EXPIRED": 1,
        "UNKNOWN_ITEM": 1,
    }
    assert status["expired_with_stock"] == 1
    assert status["latency_ms"]["count"] == 5
    assert status["latency_ms"]["p50"] <= status["latency_ms"]["p99"]
    lane = status["lane"]
    assert (lane["waiting"], lane["dead"]) == (4, 0)
    assert (lane["invalid"], lane["no_such_activity"], lane["decided"]) == (1, 1, 8)
    assert lane["positions"] == {f"{sale.SOURCE}:0": 8}
    assert sorted(status["activities"]) == ["1", "2"]

    second = http.get("/status?activity_id=2", headers=headers).json()
    assert (second["activity_id"], second["over"], second["why"]) == (2, True, "sold_out")
    assert second["activities"] is None
    assert {**status["activities"]["2"]} == {
        name: second[name] for name in status["activities"]["2"]
    }
    assert http.get("/status?activity_id=99", headers=headers).status_code == 404


def test_status_shows_window_and_limit(
    call: Any, http: Client, key: str, redis_client: "redis.Redis"
) -> None:
    Activity.objects.create(
        pk=1, user_limit=2, timeout_ms=900, opens_at=timezone.now(), closes_at=None
    )
    call("/set_stock", {"value": {"1": 3}})
    status = http.get("/status", headers={"X-API-Key": key}).json()
    assert (status["user_limit"], status["timeout_ms"], status["closes_at"]) == (2, 900, None)
    assert status["opens_at"].startswith(timezone.now().strftime("%Y-%m-%dT"))


def test_status_of_an_empty_redis(http: Client, key: str, redis_client: "redis.Redis") -> None:
    status = http.get("/status", headers={"X-API-Key": key})
    assert status.status_code == 200
    assert status.json()["loaded"] is False
    assert status.json()["lane"]["loaded"] is False
    assert status.json()["activities"] == {}
    assert http.get("/status?activity_id=1", headers={"X-API-Key": key}).status_code == 404


def test_healthz_needs_nothing(http: Client) -> None:
    answer = http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_the_documentation_works_without_the_internet(http: Client) -> None:
    page = http.get("/docs").content.decode()
    assert "http://" not in page
    assert "https://" not in page
    for part in ("swagger-ui-bundle.js", "swagger-ui-init.js", "swagger-ui.css"):
        assert f"/static/ninja/{part}" in page
        with contextlib.closing(http.get(f"/static/ninja/{part}")) as file:
            assert file.status_code == 200


def test_openapi_tells_parameters_examples_and_refusals(http: Client) -> None:
    document = http.get("/openapi.json").json()
    paths = document["paths"]
    unversioned = {path for path in paths if not path.startswith("/v1/")}
    assert unversioned == {*STEERING, "/status", "/healthz", "/readyz"}
    act = paths["/set_stock"]["post"]
    assert [p["name"] for p in act["parameters"]] == ["activity_id"]
    refusals = {"400", "401", "403", "404", "409", "413", "422", "429", "503"}
    assert set(act["responses"]) == {"200"} | refusals
    assert list(act["responses"]["422"]["content"]) == ["application/problem+json"]
    body = document["components"]["schemas"]["SetStockBody"]
    assert body["examples"] == [{"value": {"1001": 10, "1002": 5}}]
    assert {name for entry in act["security"] for name in entry} == {
        "KeyInHeader",
        "KeyAsBearer",
        "StaffSession",
    }
    assert "security" not in paths["/healthz"]["get"]


def test_the_root_leads_to_the_admin(http: Client) -> None:
    assert http.get("/")["Location"] == "/admin/"
