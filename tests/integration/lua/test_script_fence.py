"""decide_batch.lua: the fence, the lane's generation, pause, and losers that travel as counts."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.consumer.batch import Batch, Known, encode, skip
from seckill.consumer.engine import Engine, Open, Status
from seckill.errors import RedisAway
from seckill.formats.outcomes import Outcome
from seckill.lane.fence import RECOVERING, REWOUND, fence, lift, new_token
from seckill.lane.keys import Lane, position_field
from seckill.lane.status import read_lane
from seckill.postgres.lease import Claim
from tests.helpers.sale import SOURCE, batch, body, everything, now_ms, put_on_sale, stock, waiting

LANE = Lane()
HOUR_MS = 3_600_000


@pytest.fixture
def engine(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[Engine]:
    """An engine on an empty Redis."""
    engine = Engine(stack.redis_url, LANE, HOUR_MS // 2)
    yield engine
    engine.close()


class TestFence:
    def test_nothing_is_decided_in_any_partition(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 10})
        engine.decide([skip(SOURCE, 0, 0, 5)])
        assert engine.decide([batch([body(1)], 5)])[0].status is Status.DECIDED
        # One partition finds Redis behind; the other one could go on, and must not.
        assert engine.decide([batch([body(2)], 9)])[0].status is Status.REWOUND
        before = everything(redis_client)
        reply = engine.decide([batch([body(3)], 0, partition=1)])[0]
        assert reply.status is Status.FENCED
        assert "stands at 6" in reply.why
        assert "up to 9" in reply.why
        assert everything(redis_client) == before
        found = read_lane(redis_client, LANE).fence
        assert found is not None
        assert (found.word, found.why) == ("REWOUND", reply.why.removeprefix("REWOUND: "))
        # Nobody has the token of what the script fences: only a recovery goes over it.
        assert not lift(redis_client, LANE, new_token())
        token = new_token()
        assert fence(redis_client, LANE, RECOVERING, "repair", token=token, replace=True)
        assert lift(redis_client, LANE, token)
        assert engine.decide([batch([body(3)], 0, partition=1)])[0].status is Status.DECIDED

    def test_the_first_fence_stays(self, redis_client: "redis.Redis") -> None:
        assert fence(redis_client, LANE, REWOUND, "first")
        assert not fence(redis_client, LANE, REWOUND, "second")
        token = new_token()
        assert fence(redis_client, LANE, RECOVERING, "on purpose", token=token, replace=True)
        found = read_lane(redis_client, LANE).fence
        assert found is not None
        assert (found.word, found.why) == ("RECOVERING", "on purpose")
        assert lift(redis_client, LANE, token)
        assert not lift(redis_client, LANE, token)

    def test_a_late_lift_leaves_the_fence_of_somebody_else(
        self, redis_client: "redis.Redis"
    ) -> None:
        first, second = new_token(), new_token()
        assert fence(redis_client, LANE, RECOVERING, "the first", token=first, replace=True)
        assert fence(redis_client, LANE, RECOVERING, "the second", token=second, replace=True)
        assert not lift(redis_client, LANE, first)
        assert read_lane(redis_client, LANE).fence is not None
        assert lift(redis_client, LANE, second)

    def test_a_late_fence_of_before_a_recovery_does_nothing(
        self, redis_client: "redis.Redis"
    ) -> None:
        redis_client.hset(LANE.state, "generation", 2)
        assert not fence(redis_client, LANE, REWOUND, "seen in the first", generation=1)
        assert read_lane(redis_client, LANE).fence is None
        assert fence(redis_client, LANE, REWOUND, "seen in the second", generation=2)

    def test_a_full_redis_can_be_fenced(self, redis_client: "redis.Redis") -> None:
        redis_client.config_set("maxmemory", 1)
        try:
            token = new_token()
            assert fence(redis_client, LANE, REWOUND, "full", token=token)
            assert lift(redis_client, LANE, token)
        finally:
            redis_client.config_set("maxmemory", 0)


class TestGeneration:
    def test_a_rebuilt_lane_says_where_to_go_on(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 10})
        engine.decide([batch([body(1), body(2)])])
        redis_client.hset(LANE.state, "generation", 3)
        before = everything(redis_client)
        # Behind, in front of and at the stored position alike.
        for start in (0, 2, 9):
            reply = engine.decide([batch([body(3)], start)])[0]
            assert (reply.status, reply.position, reply.generation) == (Status.MOVED, 2, 3)
        nowhere = engine.decide([batch([body(3)], 7, partition=1)])[0]
        assert (nowhere.status, nowhere.position) == (Status.MOVED, -1)
        assert everything(redis_client) == before
        moved = batch([body(3)], 2)
        moved.generation = 3
        assert engine.decide([moved])[0].status is Status.DECIDED

    def test_a_lane_from_before_its_rebuilding_is_rewound(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 10})
        late = batch([body(1)])
        late.generation = 1
        assert engine.decide([late])[0].status is Status.REWOUND
        assert read_lane(redis_client, LANE).fence is not None
        assert stock(redis_client) == {1001: 10}


def test_paused_is_not_open(engine: Engine, redis_client: "redis.Redis") -> None:
    put_on_sale(redis_client, {1001: 10}, paused=1)
    assert engine.decide([batch([body(1)])])[0].count(Outcome.NOT_OPEN) == 1
    assert read_lane(redis_client, LANE).activities[1].paused
    redis_client.hdel(LANE.activity(1).state, "paused")
    assert engine.decide([batch([body(1)], 1)])[0].count(Outcome.ACCEPTED) == 1


class TestConnect:
    def test_nothing_is_sent_before_the_check_of_a_new_connection(
        self, stack: Endpoints, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 10})
        calls: list[str] = []

        class Watch(Open):
            def admit(self, run_id: str) -> Claim:
                assert run_id == redis_client.info("server")["run_id"]
                calls.append("check")
                if len(calls) == 1:
                    raise RedisAway("not now")
                return super().admit(run_id)

        engine = Engine(stack.redis_url, LANE, guard=Watch())
        with pytest.raises(RedisAway):
            engine.decide([batch([body(1)])])
        assert waiting(redis_client) == []
        engine.decide([batch([body(1)])])
        engine.decide([batch([body(2)], 1)])
        assert len(calls) == 2
        redis_client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(RedisAway):
            engine.decide([batch([body(3)], 2)])
        engine.decide([batch([body(3)], 2)])
        assert len(calls) == 3
        engine.close()


def crowd(seed: int, count: int) -> list[bytes | None]:
    """Requests for four items, two activities, some bad, some too old."""
    rnd = random.Random(seed)
    at = now_ms()
    values: list[bytes | None] = []
    for user in range(1, count + 1):
        if rnd.random() < 0.05:
            values.append(b"bad")
            continue
        items = {rnd.choice((1001, 1002, 1003, 9999)): rnd.randint(1, 2) for _ in range(2)}
        age = HOUR_MS if rnd.random() < 0.1 else 0
        more: dict[str, Any] = {"activity_id": 2} if rnd.random() < 0.3 else {}
        values.append(body(user, items, at - age, **more))
    return values


class TestCounts:
    def losers(self, *values: bytes | None, start: int = 0, **known: Known) -> Batch:
        made = encode(
            SOURCE, 0, start, range(start, start + len(values)), values,
            known={int(name[1:]): told for name, told in known.items()},
        )  # fmt: skip
        assert made.losers
        return made

    @pytest.mark.parametrize("over", [False, True])
    def test_counts_and_requests_leave_the_same_behind(
        self, engine: Engine, redis_client: "redis.Redis", over: bool
    ) -> None:
        seen = []
        for counted in (False, True):
            redis_client.flushall()
            put_on_sale(redis_client, {1001: 0, 1002: 0, 1003: 500})
            put_on_sale(redis_client, {1001: 0 if over else 500, 1002: 0}, activity=2)
            known: dict[int, Known] = {}
            values = crowd(7, 400)
            for start in range(0, 400, 100):
                part = values[start : start + 100]
                made = encode(
                    SOURCE, 0, start, range(start, start + 100), part,
                    known=known if counted else {},
                )  # fmt: skip
                assert bool(made.losers) == (counted and start > 0)
                reply = engine.decide([made])[0]
                assert reply.status is Status.DECIDED
                known = dict(reply.known)
            lane = read_lane(redis_client, LANE)
            outcomes = {i: a.total_outcomes for i, a in lane.activities.items()}
            lost = {i: a.expired_with_stock for i, a in lane.activities.items()}
            counts = {i: a.latency.count for i, a in lane.activities.items()}
            ids = [(r["offset"], r["item_id"], r["quantity"]) for r in waiting(redis_client)]
            seen.append((outcomes, lost, counts, ids, lane.positions, lane.invalid, lane.skipped))
        assert seen[0] == seen[1]
        assert seen[0][0][1][Outcome.SOLD_OUT] > 0

    def test_another_version_is_stale(self, engine: Engine, redis_client: "redis.Redis") -> None:
        put_on_sale(redis_client, {1001: 0, 1002: 5})
        sent = self.losers(body(1), _1=Known(1, False, frozenset({1001})))
        put_on_sale(redis_client, {1001: 5})
        before = everything(redis_client)
        assert engine.decide([sent])[0].status is Status.STALE
        assert everything(redis_client) == before
        assert engine.decide([sent.whole()])[0].count(Outcome.ACCEPTED) == 1
        # And a redelivery of it changes nothing.
        assert engine.decide([sent])[0].status is Status.DUPLICATE

    def test_another_epoch_is_stale(self, engine: Engine, redis_client: "redis.Redis") -> None:
        """Units that came back without an act: the version stands, and they are on sale again."""
        put_on_sale(redis_client, {1001: 0, 1002: 5})
        keys = LANE.activity(1)
        known = dict(engine.decide([batch([body(1)])])[0].known)
        assert known == {1: Known(1, False, frozenset({1001}))}
        redis_client.hset(keys.stock, "1001", 1)
        redis_client.hincrby(keys.loaded, "1001", 1)
        redis_client.hincrby(keys.state, "epoch", 1)
        sent = self.losers(body(2), start=1, _1=known[1])
        before = everything(redis_client)
        assert engine.decide([sent])[0].status is Status.STALE
        assert everything(redis_client) == before
        reply = engine.decide([sent.whole()])[0]
        assert reply.count(Outcome.ACCEPTED) == 1
        assert reply.known == {1: Known(1, False, frozenset({1001}), epoch=1)}
        # What is known at this epoch counts again.
        again = self.losers(body(3), start=2, _1=reply.known[1])
        assert engine.decide([again])[0].status is Status.DECIDED

    def test_the_end_inside_of_the_batch_is_stale(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        """Before the last unit goes a loser is SOLD_OUT, after it OVER: its place matters."""
        put_on_sale(redis_client, {1001: 0, 1002: 1})
        told = Known(1, False, frozenset({1001}))
        sent = self.losers(body(1), body(2, {1002: 1}), body(3), _1=told)
        before = everything(redis_client)
        assert engine.decide([sent])[0].status is Status.STALE
        assert everything(redis_client) == before
        reply = engine.decide([sent.whole()])[0]
        counts = {o.name: reply.count(o) for o in Outcome if reply.count(o)}
        assert counts == {"SOLD_OUT": 1, "ACCEPTED": 1, "OVER": 1}

    def test_a_part_decided_before_is_stale(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 0, 1002: 5})
        told = Known(1, False, frozenset({1001}))
        engine.decide([batch([body(1)])])
        sent = self.losers(body(1), body(2), _1=told)
        assert engine.decide([sent])[0].status is Status.STALE
        assert engine.decide([sent.whole()])[0].outcomes == b".2"

    def test_with_a_limit_per_user_nobody_is_lost_for_certain(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        """LIMIT comes before SOLD_OUT, and only the script knows who has bought."""
        put_on_sale(redis_client, {1001: 0, 1002: 5}, user_limit=1)
        reply = engine.decide([batch([body(1)])])[0]
        assert reply.known == {1: Known(1, False, frozenset())}

    def test_a_request_for_something_else_too_goes_whole(self) -> None:
        told = {1: Known(1, False, frozenset({1001}))}
        made = encode(SOURCE, 0, 0, [0], [body(1, {1001: 1, 9999: 1})], known=told)
        assert (made.losers, made.messages) == (b"", None)

    def test_counts_that_do_not_fit_are_refused(
        self, engine: Engine, redis_client: "redis.Redis"
    ) -> None:
        put_on_sale(redis_client, {1001: 0, 1002: 5})
        sent = self.losers(body(1), body(2), _1=Known(1, False, frozenset({1001})))
        sent.losers = self.losers(body(1), _1=Known(1, False, frozenset({1001}))).losers
        before = everything(redis_client)
        with pytest.raises(redis.ResponseError, match="BADBATCH"):
            engine.decide([sent])
        assert everything(redis_client) == before
        assert position_field(SOURCE, 0) not in read_lane(redis_client, LANE).positions
