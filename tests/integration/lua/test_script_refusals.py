"""The whole answer of decide_batch.lua where it decides nothing: status, position, generation."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.consumer.batch import Batch, Known, encode
from seckill.consumer.engine import Engine, Status
from seckill.lane.keys import Lane, position_field
from seckill.postgres.lease import Claim
from tests.helpers.sale import SOURCE, body, put_on_sale

LANE = Lane()
HOUR_MS = 3_600_000
# The lane's generation, and where its one partition stands.
GENERATION, POSITION = 3, 5
GONE = {1: Known(1, False, frozenset({1001}))}


@pytest.fixture
def engine(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[Engine]:
    """An engine that was admitted to the lane."""
    engine = Engine(stack.redis_url, LANE)
    engine.claim = Claim(identity="ours")
    yield engine
    engine.close()


@pytest.fixture
def lane_state(redis_client: "redis.Redis") -> Iterator[dict[str, Any]]:
    """The hash of a lane that decides; a test changes it before it asks."""
    put_on_sale(redis_client, {1001: 0, 1002: 7})
    redis_client.hset(LANE.positions, position_field(SOURCE, 0), POSITION)
    state: dict[str, Any] = {"identity": "ours", "generation": GENERATION}
    redis_client.hset(LANE.state, mapping=state)
    return state


def ask(client: "redis.Redis", engine: Engine, sent: Batch) -> tuple[Any, ...]:
    """(status, position, what it says, now, generation)."""
    status, *rest = client.execute_command(*engine._command(sent))
    assert len(rest) == 4
    position, words, now_ms, generation = rest
    return Status(status), position, words.decode(), now_ms, generation


def made(start: int, count: int, generation: int = GENERATION, **more: Any) -> Batch:
    """So many requests for what has nothing left."""
    offsets = range(start, start + count)
    values = [body(1)] * count
    return encode(SOURCE, 0, start, offsets, values, generation=generation, **more)


def test_an_empty_redis(redis_client: "redis.Redis", engine: Engine) -> None:
    assert ask(redis_client, engine, made(0, 1)) == (Status.NOT_LOADED, 0, "", 0, 0)
    redis_client.hset(LANE.state, "generation", GENERATION)
    assert ask(redis_client, engine, made(0, 1)) == (Status.NOT_LOADED, 0, "", 0, GENERATION)


@pytest.mark.usefixtures("lane_state")
class TestOfALane:
    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            (made(3, 2), (Status.DUPLICATE, POSITION)),
            (made(0, 5), (Status.DUPLICATE, POSITION)),
            (made(4, 2, GENERATION - 1), (Status.MOVED, POSITION)),
            (made(6, 1), (Status.REWOUND, POSITION)),
            (made(5, 1, GENERATION + 1), (Status.REWOUND, POSITION)),
            (made(4, 2, known=GONE), (Status.STALE, POSITION)),
            (made(5, 1, known={1: Known(9, False, frozenset({1001}))}), (Status.STALE, POSITION)),
        ],
    )
    def test_where_it_stands(
        self, redis_client: "redis.Redis", engine: Engine, sent: Batch, answer: tuple[Any, ...]
    ) -> None:
        assert ask(redis_client, engine, sent) == (*answer, "", 0, GENERATION)

    def test_without_a_position(self, redis_client: "redis.Redis", engine: Engine) -> None:
        redis_client.delete(LANE.positions)
        sent = made(0, 1, GENERATION - 1)
        assert ask(redis_client, engine, sent) == (Status.MOVED, -1, "", 0, GENERATION)
        sent = made(0, 1, known={1: Known(9, False, frozenset({1001}))})
        assert ask(redis_client, engine, sent) == (Status.STALE, 0, "", 0, GENERATION)
        assert ask(redis_client, engine, made(1, 1)) == (Status.REWOUND, 0, "", 0, GENERATION)
        why = (
            f"partition {position_field(SOURCE, 0)} stands at no position in generation 3, a "
            "consumer has decided up to 1 in generation 3"
        )
        assert redis_client.hget(LANE.state, "fenced_why") == why.encode()
        answer = (Status.FENCED, 0, f"REWOUND: {why}", 0, GENERATION)
        assert ask(redis_client, engine, made(0, 1)) == answer

    def test_a_fence_without_a_reason(self, redis_client: "redis.Redis", engine: Engine) -> None:
        redis_client.hset(LANE.state, "fenced", "RECOVERING")
        answer = (Status.FENCED, 0, "RECOVERING: ", 0, GENERATION)
        assert ask(redis_client, engine, made(5, 1)) == answer

    def test_another_lane(self, redis_client: "redis.Redis", engine: Engine) -> None:
        redis_client.hset(LANE.state, "identity", "theirs")
        why = "FOREIGN: this Redis holds lane theirs, the consumer decides for lane ours"
        assert ask(redis_client, engine, made(5, 1)) == (Status.FENCED, 0, why, 0, GENERATION)
        assert not redis_client.hexists(LANE.state, "fenced")

    def test_a_lane_that_was_loaded_since(
        self, redis_client: "redis.Redis", engine: Engine
    ) -> None:
        engine.claim = Claim()
        assert ask(redis_client, engine, made(5, 1)) == (Status.UNSEEN, 0, "", 0, GENERATION)

    @pytest.mark.parametrize("lost", [LANE.activities, LANE.activity(1).stock])
    def test_a_part_that_is_missing(
        self, redis_client: "redis.Redis", engine: Engine, lost: str
    ) -> None:
        redis_client.delete(lost)
        status, position, why, now_ms, generation = ask(redis_client, engine, made(5, 1))
        assert (status, position, now_ms, generation) == (Status.FENCED, 0, 0, GENERATION)
        assert why.startswith("TORN: the ")
        assert f"TORN: {redis_client.hget(LANE.state, 'fenced_why').decode()}" == why  # type: ignore[union-attr]

    @pytest.mark.parametrize(("hours", "word"), [(1, "behind"), (-1, "ahead of")])
    def test_clocks_that_are_far_apart(
        self, redis_client: "redis.Redis", engine: Engine, hours: int, word: str
    ) -> None:
        """Told in whole seconds."""
        real = engine._command(made(5, 1))
        wrong = [part + hours * HOUR_MS if part == real[-3] else part for part in real]
        status, position, why, now_ms, generation = redis_client.execute_command(*wrong)
        assert (Status(status), position, now_ms, generation) == (Status.CLOCK, 0, 0, GENERATION)
        seconds, clock = why.decode().removeprefix("the clock of Redis is ").split(" s ")
        assert 3600 - 60 <= int(seconds) <= 3600 + 60
        assert clock == f"{word} the clock of this consumer"
