"""The control API: bad input and services that are away; nothing is changed by a refusal."""

import json
from typing import Any

import pytest
import redis
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st

from seckill.models import Activity, Item
from tests.helpers import sale
from tests.integration.web.pages import DEAD_REDIS, STEERING, member, state

pytestmark = pytest.mark.django_db


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "body"),
    (b"{", "body"),
    (b"[]", "body"),
    (b"null", "body"),
    (b"7", "body"),
    (b'"text"', "body"),
    (b"{}", "value"),
    (b'{"value": null}', "value"),
    (b'{"value": []}', "value"),
    (b'{"value": {}}', "value"),
    (b'{"value": {"0": 1}}', "value.0"),
    (b'{"value": {"-1": 1}}', "value.-1"),
    (b'{"value": {"01": 1}}', "value.01"),
    (b'{"value": {"1.0": 1}}', "value.1.0"),
    (b'{"value": {" 1": 1}}', "value. 1"),
    (b'{"value": {"9223372036854775808": 1}}', "value.9223372036854775808"),
    ('{"value": {"１": 1}}'.encode(), "value.１"),
    (b'{"value": {"\\u0000": 1}}', "value.\x00"),
    (b'{"value": {"a": 1}}', "value.a"),
    (b'{"value": {"1": -1}}', "value.1"),
    (b'{"value": {"1": 1000000000001}}', "value.1"),
    (b'{"value": {"1": 1.5}}', "value.1"),
    (b'{"value": {"1": true}}', "value.1"),
    (b'{"value": {"1": "1"}}', "value.1"),
    (b'{"value": {"1": null}}', "value.1"),
    (b'{"value": {"1": {}}}', "value.1"),
    (b'{"value": {"1": ' + b"9" * 4000 + b"}}", "value.1"),
    (b'{"value": {"1": ' + b"9" * 5000 + b"}}", "body"),
    (b'{"value": {"1": 1e400}}', "value.1"),
    (b'{"value": {"1": NaN}}', "body"),
    (b'{"value": {"1": 1, "1": 2}}', "body"),
    (b'{"value": {"1": 1}, "value": {"2": 1}}', "body"),
    (b'{"value": {"1": 1}, "more": 1}', "more"),
    (b'{"value": {"1": 1}, "activity_id": 0}', "activity_id"),
    (b'{"value": {"1": 1}, "activity_id": "1"}', "activity_id"),
    (b'{"value": {"1": 1}, "activity_id": 9223372036854775808}', "activity_id"),
    (b"\xff\xfe{}", "body"),
    (b'{"value": {"\\ud800": 1}}', "value.\ufffd\ufffd\ufffd"),
    (b"\x00", "body"),
    (b"[" * 100_000, "body"),
    (b'{"value":' * 50_000, "body"),
    (b'{"value": {' + b",".join(b'"%d": 1' % n for n in range(1, 1002)) + b"}}", "value"),
]


@pytest.mark.parametrize(
    ("body", "field"), BAD_BODIES, ids=[repr(body[:40]) for body, _ in BAD_BODIES]
)
def test_a_bad_body_is_422_with_the_field_named(
    call: Any, redis_client: "redis.Redis", body: bytes, field: str
) -> None:
    call("/set_stock", {"value": {"1": 3}})
    before = state(redis_client)
    answer = call("/set_stock", body)
    assert answer.status_code == 422
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert problem["errors"][0]["field"] == field
    assert problem["errors"][0]["message"] in problem["detail"]
    assert len(answer.content) < 4000
    assert state(redis_client) == before


@pytest.mark.parametrize("path", ["/finish_activity", "/sync_from_db"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", "body"),
        (b"{", "body"),
        (b'{"value": {}}', "value"),
        (b'{"activity": 2}', "activity"),
    ],
)
def test_acts_without_a_body_refuse_a_bad_one(
    call: Any, redis_client: "redis.Redis", path: str, body: bytes, field: str
) -> None:
    call("/set_stock", {"value": {"1": 3}})
    before = state(redis_client)
    answer = call(path, body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert state(redis_client) == before


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("activity_id=0", "query.activity_id"),
        ("activity_id=", "query.activity_id"),
        ("activity_id=-1", "query.activity_id"),
        ("activity_id=1.5", "query.activity_id"),
        ("activity_id=%2B1", "query.activity_id"),
        ("activity_id=1_0", "query.activity_id"),
        ("activity_id=%00", "query.activity_id"),
        ("activity_id=%ff", "query.activity_id"),
        ("activity_id=9223372036854775808", "query.activity_id"),
        ("activity_id=" + "9" * 5000, "query.activity_id"),
        ("activity_id=1&activity_id=2", "query.activity_id"),
        ("activty_id=2", "query.activty_id"),
        ("activity_id=2&x=1", "query.x"),
    ],
)
def test_a_bad_query_is_422_everywhere(
    call: Any, http: Client, key: str, redis_client: "redis.Redis", query: str, field: str
) -> None:
    call("/set_stock", {"value": {"1": 3}})
    before = state(redis_client)
    answers = [
        call(f"/set_stock?{query}", {"value": {"1": 1}}),
        call(f"/finish_activity?{query}"),
        call(f"/sync_from_db?{query}"),
        http.get(f"/status?{query}", headers={"X-API-Key": key}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert state(redis_client) == before


def test_query_and_body_that_contradict_are_409(call: Any) -> None:
    answer = call("/set_stock?activity_id=2", {"value": {"1": 1}, "activity_id": 3})
    assert answer.status_code == 409
    assert "different activities" in answer.json()["detail"]
    assert not Activity.objects.exists()


def test_a_body_that_is_too_long_is_413(call: Any) -> None:
    assert call("/set_stock", b"x" * 3_000_000).status_code == 413


@pytest.mark.parametrize(
    "kind",
    ["multipart/form-data", "multipart/form-data; boundary=x", "application/json; charset=none"],
)
@pytest.mark.parametrize("body", [b"--x\r\nContent-Dis", b"--x--\r\n", b"\xff"])
def test_other_kinds_of_body_are_refused(
    http: Client, key: str, redis_client: "redis.Redis", kind: str, body: bytes
) -> None:
    answer = http.generic("POST", "/set_stock", body, kind, headers={"X-API-Key": key})
    assert answer.status_code == 422
    http.force_login(member("olga", "operators"))
    http.get("/docs")
    headers = {"X-CSRFToken": http.cookies["csrftoken"].value}
    answer = http.generic("POST", "/set_stock", body, kind, headers=headers)
    assert answer.status_code in (400, 422)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["value", "1"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@fuzz(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)))
def test_no_body_makes_a_500(call: Any, body: bytes) -> None:
    for path in STEERING:
        assert call(path, body).status_code in (200, 404, 409, 422)


@pytest.mark.parametrize("path", ["/finish_activity", "/sync_from_db"])
def test_an_unknown_activity_is_404(call: Any, redis_client: "redis.Redis", path: str) -> None:
    before = state(redis_client)
    answer = call(f"{path}?activity_id=77")
    assert answer.status_code == 404
    assert "77" in answer.json()["detail"]
    assert state(redis_client) == before


def test_an_activity_without_items_cannot_be_synced(call: Any) -> None:
    Activity.objects.create(pk=5)
    answer = call("/sync_from_db?activity_id=5")
    assert answer.status_code == 409
    assert "no items" in answer.json()["detail"]


@pytest.mark.parametrize("path", STEERING)
def test_redis_away_is_503_with_its_name(
    call: Any, redis_client: "redis.Redis", settings: Any, path: str
) -> None:
    call("/set_stock", {"value": {"1": 3}})
    before = sale.everything(redis_client)
    cache = {**settings.CACHES["default"], "LOCATION": DEAD_REDIS}
    settings.CACHES = {"default": cache}
    answer = call(path, {"value": {"1": 1}} if path == "/set_stock" else b"")
    assert answer.status_code == 503
    assert answer.json()["service"] == "Redis"
    assert answer.json()["detail"] == (
        "Redis is away; the call may have been done: see /status and the journal before you "
        "repeat it"
    )
    assert answer["Retry-After"]
    assert "127.0.0.1" not in answer.content.decode()
    assert sale.everything(redis_client) == before
    assert Item.objects.get().allocation == 3
