"""The rate limit, and the probes: alive, ready, and which part is not."""

import threading
from typing import Any

import pytest
import redis
from django.db import connections
from django.test import Client

from seckill.control.control import Control
from seckill.lane.fence import fence, lift, new_token
from seckill.lane.keys import Lane, rate_bucket
from seckill.telemetry.heartbeats import Heart, Kind
from seckill.web.shared import rate_limit
from tests.conftest import wait_until

pytestmark = pytest.mark.django_db


class TestRateLimit:
    def test_a_key_has_its_share_and_then_waits(
        self, http: Client, key: str, look_key: str, redis_client: "redis.Redis", settings: Any
    ) -> None:
        settings.RATE_LIMIT, settings.RATE_BURST = 0.001, 3

        def look(key: str, address: str) -> Any:
            return http.get("/v1/journal", headers={"X-API-Key": key}, REMOTE_ADDR=address)

        answers = [look(key, f"10.0.0.{n}") for n in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
        assert answers[0]["RateLimit-Limit"] == "3"
        refused = answers[3]
        assert refused["Content-Type"] == "application/problem+json"
        assert 0 < int(refused["Retry-After"]) <= 1000
        assert int(refused["RateLimit-Reset"]) > int(refused["Retry-After"])
        # Another key goes on; an address has its share too, whatever its keys.
        assert [look(look_key, "10.0.0.9").status_code for _ in range(3)] == [200] * 3
        assert look("sk_new", "10.0.0.9").status_code == 429
        assert look("sk_new", "10.0.0.8").status_code == 401

    def test_what_is_refused_is_counted_nowhere(self, redis_client: "redis.Redis") -> None:
        assert rate_limit.count(redis_client, ["a"], 0.001, 1).allowed
        before = redis_client.get(rate_bucket("a"))
        assert not rate_limit.count(redis_client, ["b", "a"], 0.001, 1).allowed
        assert redis_client.get(rate_bucket("a")) == before
        assert not redis_client.exists(rate_bucket("b"))
        assert redis_client.pttl(rate_bucket("a")) > 0

    def test_it_fills_again(self, redis_client: "redis.Redis") -> None:
        assert rate_limit.count(redis_client, ["a"], 5, 1).allowed
        wait_until(
            lambda: rate_limit.count(redis_client, ["a"], 5, 1).allowed, 10, "a call is let through"
        )

    def test_many_at_once_get_no_more_than_there_is(self, redis_client: "redis.Redis") -> None:
        allowed: list[bool] = []

        def call() -> None:
            for _ in range(10):
                allowed.append(rate_limit.count(redis_client, ["a"], 0.001, 7).allowed)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert (len(allowed), sum(allowed)) == (40, 7)

    def test_nobody_is_locked_out_by_a_redis_that_is_away(
        self, http: Client, key: str, away: None, settings: Any
    ) -> None:
        settings.RATE_LIMIT, settings.RATE_BURST = 0.001, 1
        for _ in range(3):
            assert http.get("/v1/journal", headers={"X-API-Key": key}).status_code == 200

    def test_probes_and_documentation_are_free(
        self, http: Client, redis_client: "redis.Redis", settings: Any
    ) -> None:
        settings.RATE_LIMIT, settings.RATE_BURST = 0.001, 1
        for _ in range(3):
            assert http.get("/healthz").status_code == 200
            assert http.get("/openapi.json").status_code == 200

    def test_it_can_be_switched_off(
        self, http: Client, key: str, redis_client: "redis.Redis", settings: Any
    ) -> None:
        settings.RATE_LIMIT, settings.RATE_BURST = 0, 1
        answers = [http.get("/status", headers={"X-API-Key": key}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert "RateLimit-Limit" not in answers[0]


class TestReady:
    def parts(self, http: Client) -> dict[str, str]:
        """What is not ready: part and reason."""
        answer = http.get("/readyz")
        assert answer.status_code == 503
        assert answer["Content-Type"] == "application/problem+json"
        assert answer["Retry-After"]
        return {error["field"]: error["message"] for error in answer.json()["errors"]}

    def test_with_a_sale_it_is_ready(self, http: Client, control: Control) -> None:
        control.set_stock(1, {1: 1})
        answer = http.get("/readyz")
        assert (answer.status_code, answer.json()) == (
            200, {"can_decide": True, "can_settle": True, "can_store": True},
        )  # fmt: skip

    def test_nothing_is_loaded(self, http: Client, redis_client: "redis.Redis") -> None:
        assert list(self.parts(http)) == ["decide.activities"]

    def test_redis_is_away(self, http: Client, away: None) -> None:
        parts = self.parts(http)
        assert list(parts) == ["decide.Redis", "store.Redis"]
        assert "127.0.0.1" not in str(parts)

    def test_postgresql_is_away(
        self, http: Client, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        control.set_stock(1, {1: 1})
        away = connections["default"].copy()
        away.settings_dict = {**away.settings_dict, "HOST": "127.0.0.1", "PORT": "1"}
        with monkeypatch.context() as patched:
            patched.setattr("seckill.monitoring.readiness.connection", away)
            assert list(self.parts(http)) == ["store.PostgreSQL"]

    def test_the_lane_is_fenced(
        self, http: Client, control: Control, redis_client: "redis.Redis"
    ) -> None:
        control.set_stock(1, {1: 1})
        token = new_token()
        assert fence(redis_client, Lane(), "REWOUND", "an older copy", token=token)
        said = self.parts(http)["decide.fence"]
        assert said.startswith("REWOUND: ")
        assert "an older copy" not in said, "a probe needs no credential"

    def test_who_asks_too_often_gets_the_last_answer_and_no_refusal(
        self, http: Client, control: Control, redis_client: "redis.Redis", settings: Any
    ) -> None:
        settings.RATE_LIMIT, settings.RATE_BURST = 0.001, 2
        control.set_stock(1, {1: 1})

        def ask(address: str) -> int:
            return int(http.get("/readyz", REMOTE_ADDR=address).status_code)

        ask("10.0.0.1")
        # The last look of this process is of now.
        assert ask("10.0.0.1") == 200
        token = new_token()
        assert fence(redis_client, Lane(), "REWOUND", "an older copy", token=token)
        assert ask("10.0.0.1") == 200
        wait_until(lambda: ask("10.0.0.1") == 503, 30, "the answer of before is too old")
        # Who has a share left is told what is now.
        lift(redis_client, Lane(), token)
        assert ask("10.0.0.2") == 200

    def test_a_probe_takes_nothing_from_the_calls_of_its_address(
        self, http: Client, key: str, control: Control, settings: Any
    ) -> None:
        settings.RATE_LIMIT, settings.RATE_BURST = 0.001, 1
        control.set_stock(1, {1: 1})
        assert [http.get("/readyz").status_code for _ in range(3)] == [200] * 3
        assert http.get("/status", headers={"X-API-Key": key}).status_code == 200

    def test_workers_that_were_heard_of_are_silent(
        self, http: Client, control: Control, redis_client: "redis.Redis", stack: Any
    ) -> None:
        control.set_stock(1, {1: 1})
        hearts = [Heart(stack.redis_url, Lane(), kind) for kind in (Kind.CONSUMER, Kind.LOG_WORKER)]
        for heart in hearts[:1]:
            heart.beat(1)
        assert http.get("/readyz").status_code == 200
        lane = Lane()
        for member, beat in redis_client.zrange(lane.beats, 0, -1, withscores=True):
            redis_client.zadd(lane.beats, {member: beat - 60_000})
        assert list(self.parts(http)) == ["decide.consumer"]
        hearts[0].beat(2)
        for heart in hearts:
            heart.close()

    def test_holds_need_a_settler(
        self, http: Client, control: Control, redis_client: "redis.Redis", stack: Any
    ) -> None:
        control.set_stock(1, {1: 1})
        control.configure_fields(1, hold_s=60)
        parts = self.parts(http)
        assert list(parts) == ["settle.settler"]
        assert "start manage.py run_settler" in parts["settle.settler"]
        heart = Heart(stack.redis_url, Lane(), Kind.SETTLER)
        heart.beat(1)
        assert http.get("/readyz").status_code == 200
        heart.close()
        assert list(self.parts(http)) == ["settle.settler"]
        # Nothing is held, and nothing will be.
        control.finish(1)
        assert http.get("/readyz").status_code == 200
