"""Fixtures of the web tests: clients of the API and of the admin, with and without rights."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.test import Client

from devstack.endpoints import Endpoints
from seckill.control.control import Control
from seckill.lane.keys import Lane
from seckill.web.shared.accounts import make_api_key
from tests.integration.web.pages import DEAD_REDIS, Ask, logged_in, member


@pytest.fixture
def key(db: None) -> str:
    """A key that may steer."""
    return make_api_key("till", can_steer=True)


@pytest.fixture
def look_key(db: None) -> str:
    """A key that may only look."""
    return make_api_key("screen", can_steer=False)


@pytest.fixture
def http() -> Client:
    """A client that checks CSRF as browsers meet it, and gets a 500 as an answer."""
    return Client(enforce_csrf_checks=True, raise_request_exception=False)


@pytest.fixture
def call(http: Client, key: str, redis_client: "redis.Redis") -> Callable[..., Any]:
    """POST with the steering key: path, body as bytes or as something for JSON."""

    def post(path: str, body: Any = b"", **headers: str) -> Any:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return http.post(
            path, raw, content_type="application/json", headers={"X-API-Key": key, **headers}
        )

    return post


@pytest.fixture
def ask(http: Client, key: str, redis_client: "redis.Redis") -> Ask:
    """Any method with the steering key: method, path, body for JSON."""

    def call(method: str, path: str, body: Any = None, **headers: str) -> Any:
        raw = b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.generic(
            method, path, raw, "application/json", headers={"X-API-Key": key, **named}
        )

    return call


@pytest.fixture
def boss(db: None) -> Client:
    """Logged in as a superuser."""
    return logged_in(User.objects.create_superuser("boss"))


@pytest.fixture
def operator(db: None) -> Client:
    """Logged in as a member of group operators."""
    return logged_in(member("olga", "operators"))


@pytest.fixture
def observer(db: None) -> Client:
    """Logged in as a member of group observers."""
    return logged_in(member("otto", "observers"))


@pytest.fixture
def control(redis_client: "redis.Redis") -> Control:
    """Acts of a test, on an empty Redis."""
    return Control(redis_client, "test", Lane())


@pytest.fixture
def away(settings: Any) -> None:
    """Redis is away, for the web process."""
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": DEAD_REDIS}}


@pytest.fixture
def two_lanes(settings: Any, stack: Endpoints) -> None:
    """Lane north in the list beside that of main."""
    settings.CACHES = {
        **settings.CACHES,
        "lane-north": {**deepcopy(settings.CACHES["default"]), "LOCATION": stack.redis_url},
    }
    settings.LANES = ["main", "north"]


@pytest.fixture
def split(two_lanes: None, ask: Ask) -> None:
    """Activity 1, 11 units of 1001, is split: 6 in main, and 5 in north as activity 2."""
    made = ask("POST", "/v1/activities", {"activity_id": 1, "stock": {"1001": 11}, "name": "Hot"})
    assert made.status_code == 201, made.content
    done = ask("POST", "/v1/activities/1/split", {"lanes": ["main", "north"]})
    assert done.status_code == 200, done.content


@pytest.fixture
def north_away(settings: Any) -> Callable[[], None]:
    """Called: from then on the Redis of lane north is away, for the web process."""

    def leave() -> None:
        north = {**settings.CACHES["lane-north"], "LOCATION": DEAD_REDIS}
        settings.CACHES = {**settings.CACHES, "lane-north": north}

    return leave
