"""The control API: who may look, who may steer, and by which credential."""

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.test import Client
from django.utils import timezone

from seckill.models import ApiKey, StockChange
from tests.integration.web.pages import STEERING, member, state

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", STEERING)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "sk_wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer sk_wrong"},
        {"Authorization": "Basic YTpi"},
        {"X-API-Key": "\xff" * 300},
    ],
)
def test_no_or_a_wrong_credential_is_401(
    http: Client, redis_client: "redis.Redis", path: str, headers: dict[str, str]
) -> None:
    before = state(redis_client)
    answer = http.post(path, b"{", content_type="application/json", headers=headers)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["title"] == "Unauthorized"
    assert http.get("/status", headers=headers).status_code == 401
    assert state(redis_client) == before


def test_both_ways_to_send_a_key(http: Client, key: str, redis_client: "redis.Redis") -> None:
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
        assert http.get("/status", headers=headers).status_code == 200


def test_a_key_that_may_only_look(http: Client, look_key: str, redis_client: "redis.Redis") -> None:
    headers = {"X-API-Key": look_key}
    assert http.get("/status", headers=headers).status_code == 200
    before = state(redis_client)
    for path in STEERING:
        # Before the body is read: who may not steer learns nothing about it.
        for body in (b'{"value": {"1": 1}}', b"{", b""):
            answer = http.post(path, body, content_type="application/json", headers=headers)
            assert answer.status_code == 403
    assert state(redis_client) == before


def test_a_revoked_key_is_401(http: Client, key: str, redis_client: "redis.Redis") -> None:
    ApiKey.objects.update(revoked_at=timezone.now())
    assert http.get("/status", headers={"X-API-Key": key}).status_code == 401


def test_the_last_use_is_written_once_a_minute(
    http: Client, key: str, redis_client: "redis.Redis"
) -> None:
    def use() -> Any:
        assert http.get("/status", headers={"X-API-Key": key}).status_code == 200
        return ApiKey.objects.get().last_used_at

    first = use()
    assert first is not None
    assert use() == first
    ApiKey.objects.update(last_used_at=first - timedelta(minutes=2))
    assert use() > first


def test_the_key_is_stored_as_a_hash_only(key: str) -> None:
    row = ApiKey.objects.values().get()
    assert key not in str(row)
    assert key.startswith(row["prefix"])
    assert len(row["prefix"]) < 12


def test_a_session_needs_the_csrf_token(http: Client, redis_client: "redis.Redis") -> None:
    http.force_login(member("olga", "operators"))
    assert http.get("/status").status_code == 200
    body = b'{"value": {"1": 1}}'
    before = state(redis_client)
    for headers in ({}, {"X-CSRFToken": "a" * 64}):
        answer = http.post("/set_stock", body, content_type="application/json", headers=headers)
        assert answer.status_code == 403
        assert "CSRF" in answer.json()["detail"]
    assert state(redis_client) == before
    assert http.get("/docs").status_code == 200
    token = http.cookies["csrftoken"].value
    headers = {"X-CSRFToken": token}
    answer = http.post("/set_stock", body, content_type="application/json", headers=headers)
    assert answer.status_code == 200
    assert StockChange.objects.get().actor == "olga"
    # A wrong key is refused beside a good session, and a strange origin beside a good token.
    for more in ({"X-API-Key": "sk_wrong"}, {"Origin": "https://elsewhere.example"}):
        answer = http.post(
            "/set_stock", body, content_type="application/json", headers={**headers, **more}
        )
        assert answer.status_code in (401, 403)


@pytest.mark.parametrize(
    ("group", "staff", "look", "steer"),
    [
        ("operators", True, 200, 200),
        ("observers", True, 200, 403),
        (None, True, 403, 403),
        ("operators", False, 403, 403),
    ],
)
def test_what_people_may(
    http: Client,
    redis_client: "redis.Redis",
    group: str | None,
    staff: bool,
    look: int,
    steer: int,
) -> None:
    http.force_login(member("pat", group, staff=staff))
    http.get("/docs")
    headers = {"X-CSRFToken": http.cookies["csrftoken"].value}
    assert http.get("/status").status_code == look
    answer = http.post(
        "/set_stock", b'{"value": {"1": 1}}', content_type="application/json", headers=headers
    )
    assert answer.status_code == steer
