"""The scripts on bad ground: rights that are missing, types and numbers that are wrong, lost keys.

A script is not rolled back: so in each of these nothing at all may be written.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.consumer.batch import encode
from seckill.consumer.engine import Engine, Open, Status
from seckill.control import staging
from seckill.control.control import Control
from seckill.errors import Fenced, RedisRefuses
from seckill.formats.outcomes import Outcome
from seckill.lane.client import connect, run_script
from seckill.lane.keys import BOARD_STRING, CONTROL_CHANNEL, Lane
from seckill.lane.status import read_lane
from seckill.models import Item
from seckill.monitoring.fitness import missing_rights
from seckill.postgres.lease import Claim
from tests.helpers.sale import (
    SOURCE,
    batch,
    body,
    everything,
    load_scripts,
    now_ms,
    put_on_sale,
    stock,
    waiting,
)

LANE = Lane()
KEYS = LANE.activity(1)
HOUR_MS = 3_600_000


@pytest.fixture
def engine(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[Engine]:
    """An engine on an empty Redis."""
    engine = Engine(stack.redis_url, LANE)
    yield engine
    engine.close()


@pytest.fixture
def user(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[Any]:
    """A user of Redis with these rights: gives its address."""

    def make(*rights: str) -> str:
        redis_client.execute_command("ACL", "SETUSER", "seckill", "reset", "on", ">pw", *rights)
        load_scripts(redis_client)
        return stack.redis_url.replace("redis://:", "redis://seckill:").replace(
            redis_client.get_connection_kwargs()["password"], "pw"
        )

    yield make
    redis_client.execute_command("ACL", "DELUSER", "seckill")


ALL = ("~*", "&*", "+@all")


class TestRights:
    @pytest.mark.parametrize("missing", ["hset", "lpush", "setrange"])
    def test_a_right_that_is_missing_is_asked_for_before_the_first_write(
        self, redis_client: "redis.Redis", user: Any, missing: str
    ) -> None:
        """Pushed and not counted, a batch would be pushed again at each try."""
        put_on_sale(redis_client, {1001: 20}, user_limit=5)
        narrow = Engine(user(*ALL, f"-{missing}"), LANE)
        before = everything(redis_client)
        for _ in range(2):
            with pytest.raises(RedisRefuses, match=missing.upper()):
                narrow.decide([batch([body(n) for n in range(1, 21)])])
        assert everything(redis_client) == before
        narrow.close()

    def test_a_key_pattern_that_leaves_one_key_out(
        self, redis_client: "redis.Redis", user: Any
    ) -> None:
        put_on_sale(redis_client, {1001: 20})
        narrow = Engine(user("~seckill:logs", "~{seckill:logs}:[0-9a]*", "&*", "+@all"), LANE)
        before = everything(redis_client)
        with pytest.raises(RedisRefuses):
            narrow.decide([batch([body(1)])])
        assert everything(redis_client) == before
        narrow.close()

    @pytest.mark.django_db(transaction=True)
    def test_who_may_not_publish_has_acted_all_the_same(
        self, redis_client: "redis.Redis", user: Any, pg_dsn: str
    ) -> None:
        """Told as failed, the operator would add the units again and again."""
        Control(redis_client, "olga", LANE).set_stock(1, {1001: 100})
        narrow = connect(user("~*", "resetchannels", "+@all"))
        act = Control(narrow, "olga", LANE).add_stock(1, {1001: 10})
        assert act.new == {"1001": 110}
        assert stock(redis_client) == {1001: 110}
        narrow.close()

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(
        "act", ["set_stock", "add_stock", "pause", "finish", "reopen", "sync_from_db"]
    )
    def test_an_act_without_its_rights_changes_nothing(
        self, redis_client: "redis.Redis", user: Any, pg_dsn: str, act: str
    ) -> None:
        Control(redis_client, "olga", LANE).set_stock(1, {1001: 100})
        narrow = connect(user(*ALL, "-hset"))
        before = everything(redis_client)
        arguments = ({1001: 5},) if act.endswith("_stock") else ()
        with pytest.raises(RedisRefuses, match="HSET"):
            getattr(Control(narrow, "olga", LANE), act)(1, *arguments)
        assert everything(redis_client) == before
        narrow.close()

    def test_the_check_of_the_start_names_what_is_missing(
        self, redis_client: "redis.Redis", user: Any
    ) -> None:
        assert missing_rights(redis_client, LANE) == []
        narrow = connect(user(*ALL, "-ltrim", "-zadd"))
        named = missing_rights(narrow, LANE)
        assert {name.split()[0] for name in named} == {"LTRIM", "ZADD"}
        narrow.close()


class TestTypesAndNumbers:
    @pytest.mark.parametrize(
        ("key", "field"), [(KEYS.stats, "1"), (KEYS.stats, "units"), (LANE.stats, "-8")]
    )
    def test_a_counter_that_is_no_number(
        self, engine: Engine, redis_client: "redis.Redis", key: str, field: str
    ) -> None:
        put_on_sale(redis_client, {1001: 20})
        redis_client.hset(key, field, "many")
        before = everything(redis_client)
        for _ in range(2):
            with pytest.raises(RedisRefuses, match=r"is not a number"):
                engine.decide([batch([body(1), b"bad"])])
        assert everything(redis_client) == before

    @pytest.mark.parametrize(
        "key", [LANE.list, LANE.stats, KEYS.stats, KEYS.buyers, LANE.board(SOURCE, 0, 0)]
    )
    def test_a_key_of_another_type(
        self, engine: Engine, redis_client: "redis.Redis", key: str
    ) -> None:
        put_on_sale(redis_client, {1001: 20}, user_limit=5)
        redis_client.delete(key)
        redis_client.sadd(key, "another program")
        before = everything(redis_client)
        with pytest.raises(RedisRefuses, match=r"WRONGTYPE|wrong kind"):
            engine.decide([batch([body(1), b"bad"])])
        assert everything(redis_client) == before

    @pytest.mark.parametrize("units", [10**8, 2 * 10**8, 10**12])
    def test_no_number_is_written_with_an_exponent(
        self, engine: Engine, redis_client: "redis.Redis", units: int
    ) -> None:
        """Redis writes a Lua number as 1e+08, where that is shorter."""
        put_on_sale(redis_client, {1001: units - 1}, user_limit=10**9)
        put_on_sale(redis_client, {1001: units + 1})
        engine.decide([batch([body(7)])])
        assert redis_client.hget(KEYS.stock, "1001") == b"%d" % units
        redis_client.hset(KEYS.buyers, "7", units - 1)
        redis_client.hset(KEYS.state, "user_limit", 10**13)
        redis_client.hset(KEYS.stats, "units", units - 1)
        engine.decide([batch([body(7)], 1)])
        assert redis_client.hget(KEYS.buyers, "7") == b"%d" % units
        assert redis_client.hget(KEYS.stats, "units") == b"%d" % units

    @pytest.mark.django_db(transaction=True)
    def test_configure_works_with_a_hundred_thousand_positions(
        self, redis_client: "redis.Redis", pg_dsn: str
    ) -> None:
        """Topics come and go: Lua's stack holds some eight thousand values."""
        control = Control(redis_client, "olga", LANE)
        control.set_stock(1, {1001: 5})
        pipe = redis_client.pipeline(transaction=False)
        for first in range(0, 100_000, 10_000):
            fields = {f"{SOURCE}:{n}": 0 for n in range(first, first + 10_000)}
            pipe.hset(LANE.positions, mapping=fields)
        pipe.execute()
        control.configure_fields(1, user_limit=2)
        assert read_lane(redis_client, LANE).activities[1].user_limit == 2

    def test_the_first_load_writes_no_minus_nought(self, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 5})
        assert redis_client.hget(LANE.stats, "skipped") in (None, b"0")


class TestTorn:
    """A part of the lane is missing: an evicted key, or one that was deleted by hand."""

    @pytest.mark.parametrize("missing", ["state", "stock", "buyers"])
    def test_a_hash_of_an_activity(
        self, engine: Engine, redis_client: "redis.Redis", missing: str
    ) -> None:
        """Buyers that are gone would all buy again."""
        put_on_sale(redis_client, {1001: 20}, user_limit=1)
        assert engine.decide([batch([body(1)])])[0].count(Outcome.ACCEPTED) == 1
        redis_client.delete(getattr(KEYS, missing))
        for _ in range(2):
            reply = engine.decide([batch([body(1)], 1)])[0]
            assert reply.status is Status.FENCED
            assert f"TORN: the {missing} of activity 1" in reply.why
        assert len(waiting(redis_client)) == 1

    def test_the_set_of_activities_alone(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 20})
        engine.decide([batch([body(1)])])
        redis_client.delete(LANE.activities)
        reply = engine.decide([batch([body(2)], 1)])[0]
        assert (reply.status, "TORN" in reply.why) == (Status.FENCED, True)

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("missing", ["state", "stock", "loaded"])
    def test_no_act_patches_it(
        self, redis_client: "redis.Redis", pg_dsn: str, missing: str
    ) -> None:
        """A set_stock would open the sale again, without the limit that it had; what is counted as
        loaded from nothing would become the allocation.
        """
        control = Control(redis_client, "olga", LANE)
        control.set_stock(1, {1001: 20})
        redis_client.delete(getattr(KEYS, missing))
        for act in (
            lambda: control.set_stock(1, {1001: 20}),
            lambda: control.add_stock(1, {1001: 1}),
            lambda: control.sync_from_db(1),
        ):
            with pytest.raises(Fenced, match="recover"):
                act()
        assert not redis_client.exists(getattr(KEYS, missing))
        assert Item.objects.get().allocation == 20

    @pytest.mark.django_db(transaction=True)
    def test_no_act_brings_the_registry_back(
        self, engine: Engine, redis_client: "redis.Redis", pg_dsn: str
    ) -> None:
        """What is sold would count twice, once in the records and once in what is left of Redis."""
        control = Control(redis_client, "olga", LANE)
        control.set_stock(1, {1001: 20})
        engine.decide([batch([body(1)])])
        redis_client.delete(LANE.activities)
        with pytest.raises(Fenced, match="was put on sale, and Redis does not hold it"):
            control.set_stock(1, {1001: 5})
        assert not redis_client.exists(LANE.activities)
        assert Item.objects.get().allocation == 20

    def test_a_mark_is_kept_where_buyers_are_counted(self, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 20}, user_limit=1)
        token = staging.stage(redis_client, KEYS.new_buyers, [(5, 1)])
        keys = [LANE.activities, LANE.state, KEYS.state, KEYS.buyers, LANE.positions]
        head = [1, CONTROL_CHANNEL, "test", "", 0]
        run_script(redis_client, "configure", [*keys, KEYS.new_buyers], [*head, "keep", token])
        assert redis_client.hgetall(KEYS.buyers) == {b"": b"1", b"5": b"1"}


class Admitting(Open):
    """A gatekeeper that has seen a lane."""

    def __init__(self, identity: str) -> None:
        self.identity, self.asked = identity, 0

    def admit(self, run_id: str) -> Claim:
        self.asked += 1
        return Claim(self.identity)


class TestIdentity:
    def test_another_lane_is_not_decided(
        self, stack: Endpoints, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 20})
        redis_client.hset(LANE.state, "identity", "theirs")
        engine = Engine(stack.redis_url, LANE, guard=Admitting("ours"))
        before = everything(redis_client)
        reply = engine.decide([batch([body(1)])])[0]
        assert (reply.status, "FOREIGN" in reply.why) == (Status.FENCED, True)
        # It is not our lane: nothing is written there, a fence neither.
        assert everything(redis_client) == before
        engine.close()

    def test_an_identity_that_is_gone_is_a_lost_key(
        self, stack: Endpoints, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 20})
        engine = Engine(stack.redis_url, LANE, guard=Admitting("ours"))
        reply = engine.decide([batch([body(1)])])[0]
        assert (reply.status, "TORN" in reply.why) == (Status.FENCED, True)
        engine.close()

    def test_a_lane_that_was_loaded_since_is_looked_at_first(
        self, stack: Endpoints, redis_client: "redis.Redis"
    ) -> None:
        guard = Admitting("")
        engine = Engine(stack.redis_url, LANE, guard=guard)
        assert engine.decide([batch([body(1)])])[0].status is Status.NOT_LOADED
        put_on_sale(redis_client, {1001: 20})
        redis_client.hset(LANE.state, "identity", "ours")
        guard.identity = "ours"
        assert engine.decide([batch([body(1)])])[0].status is Status.DECIDED
        assert guard.asked == 2
        engine.close()


class TestClock:
    """Time by Redis; the highest that the lane has seen; and a consumer's clock that must agree."""

    @pytest.mark.parametrize("wrong_by", [-HOUR_MS, HOUR_MS])
    def test_clocks_that_are_far_apart_decide_nothing(
        self,
        engine: Engine,
        redis_client: "redis.Redis",
        monkeypatch: pytest.MonkeyPatch,
        wrong_by: int,
    ) -> None:
        """By a clock that is ahead everybody is EXPIRED; behind, a closed sale sells."""
        put_on_sale(redis_client, {1001: 20}, timeout=5_000)
        before = everything(redis_client)
        real = now_ms()
        monkeypatch.setattr(
            "seckill.consumer.engine.time.time_ns", lambda: (real + wrong_by) * 1_000_000
        )
        reply = engine.decide([batch([body(1)])])[0]
        assert reply.status is Status.CLOCK
        assert ("behind" if wrong_by > 0 else "ahead of") in reply.why
        assert everything(redis_client) == before
        monkeypatch.undo()
        assert engine.decide([batch([body(1)])])[0].count(Outcome.ACCEPTED) == 1

    def test_time_never_goes_back_within_a_lane(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        """A sale that has closed stays closed; and who comes now is not an hour old."""
        closes = now_ms() + HOUR_MS // 2
        put_on_sale(redis_client, {1001: 20}, closes_at=closes, timeout=5_000)
        put_on_sale(redis_client, {1001: 20}, activity=2, timeout=5_000)
        redis_client.hset(LANE.state, "clock", closes + 1)
        reply = engine.decide([batch([body(1), body(2, activity_id=2)])])[0]
        assert reply.count(Outcome.NOT_OPEN) == 1
        assert reply.count(Outcome.ACCEPTED) == 1
        assert reply.now_ms == closes + 1
        [record] = waiting(redis_client)
        assert record["timestamp"] == (closes + 1) // 1000
        assert record["cost_ms"] < HOUR_MS // 2
        assert int(redis_client.hget(LANE.state, "clock") or 0) == closes + 1

    def test_the_highest_time_is_kept(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 20})
        reply = engine.decide([batch([body(1)])])[0]
        assert int(redis_client.hget(LANE.state, "clock") or 0) == reply.now_ms

    def test_a_bucket_of_a_clock_that_went_back_holds_no_more_than_its_room(
        self, redis_client: "redis.Redis"
    ) -> None:
        """Else everybody would be told 429 for as long as the clock went back."""
        key = "{seckill:logs}:rate:test"
        redis_client.set(key, (now_ms() + HOUR_MS) * 1000)
        allowed, _left, _full_ms, wait_ms = run_script(redis_client, "rate_limit", [key], [10, 10])
        assert (allowed, wait_ms <= 1000) == (0, True)

    def test_the_history_goes_on_after_a_clock_went_back(self, redis_client: "redis.Redis") -> None:
        later = now_ms() + HOUR_MS
        redis_client.zadd(LANE.series, {f"{later} wrong": later})
        assert run_script(redis_client, "append_sample", [LANE.series], ["right", 100]) == 1
        assert [s.partition(b" ")[2] for s in redis_client.zrange(LANE.series, 0, -1)] == [b"right"]

    def test_a_worker_of_a_later_time_is_forgotten(self, redis_client: "redis.Redis") -> None:
        later = now_ms() + HOUR_MS
        redis_client.zadd(LANE.beats, {"dead:1": later})
        redis_client.hset(LANE.workers, "dead:1", "{}")
        run_script(redis_client, "beat", [LANE.workers, LANE.beats], ["live:2", "{}", 1000])
        assert redis_client.hkeys(LANE.workers) == [b"live:2"]


class TestBoard:
    """One byte an offset: what became of the request there."""

    def test_over_the_end_of_a_string(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 3})
        start = BOARD_STRING - 2
        redis_client.hset(LANE.positions, f"{SOURCE}:0", start)
        engine.decide([batch([body(1), b"bad", body(2), body(3, {9: 1}), body(4)], start)])
        first: bytes = redis_client.get(LANE.board(SOURCE, 0, 0))  # type: ignore[assignment]
        assert first == bytes(BOARD_STRING - 2) + b"08"
        assert redis_client.get(LANE.board(SOURCE, 0, 1)) == b"060"

    def test_a_hole_has_no_byte(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 3})
        far = 7 * BOARD_STRING + 1
        made = encode(SOURCE, 0, 0, [1, 4, far], [body(1), b"bad", body(2)])
        assert list(made.boards) == [0, 7]
        engine.decide([made])
        assert redis_client.get(LANE.board(SOURCE, 0, 0)) == b"\0" + b"0" + b"\0\0" + b"8"
        assert redis_client.get(LANE.board(SOURCE, 0, 7)) == b"\0" + b"0"
        assert not redis_client.exists(LANE.board(SOURCE, 0, 1))

    def test_a_part_that_was_decided_before_keeps_its_bytes(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 1})
        engine.decide([batch([body(1), body(2)])])
        engine.decide([batch([body(1), body(2), b"bad"])])
        assert redis_client.get(LANE.board(SOURCE, 0, 0)) == b"018"

    def test_a_batch_that_is_refused_writes_none(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 1})
        sent = batch([body(1)])
        sent.end = 2
        with pytest.raises(redis.ResponseError):
            engine.decide([sent])
        assert not redis_client.exists(LANE.board(SOURCE, 0, 0))


def test_an_act_is_published_with_plain_numbers(
    redis_client: "redis.Redis", engine: Engine
) -> None:
    listener = redis_client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(CONTROL_CHANNEL)
    while listener.get_message(timeout=60) is not None:
        pass
    put_on_sale(redis_client, {1001: 10**8})
    message = listener.get_message(timeout=60)
    assert message is not None
    assert json.loads(message["data"])["stock"] == {"1001": 10**8}
    assert b"e+" not in message["data"]
    listener.close()
