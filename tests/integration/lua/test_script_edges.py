"""decide_batch.lua at its edges: exactly the timeout, exactly the end, each millisecond's bucket.

A request's age depends on the moment at which Redis decides, which nobody knows before. So a batch
has a request of each millisecond around it, and the answer tells which one was at the edge.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.consumer.batch import NOTHING_KNOWN, Known, encode
from seckill.consumer.engine import Engine, Status
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from tests.conftest import wait_until
from tests.helpers.figures import bucket
from tests.helpers.sale import SOURCE, batch, body, now_ms, put_on_sale

LANE = Lane()
HOUR_MS = 3_600_000
TIMEOUT_MS = 60_000
# By which the clocks of Redis and of a consumer may differ.
CLOCK_BOUND_MS = 60_000
# From the moment at which a batch is made to the one in which it is decided.
SPAN_MS = 3_000


@pytest.fixture
def engine(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[Engine]:
    """An engine without a timeout of its own, on an empty Redis."""
    engine = Engine(stack.redis_url, LANE)
    yield engine
    engine.close()


def decide_each_age(
    engine: Engine, age_ms: int, known: Mapping[int, Known] = NOTHING_KNOWN
) -> list[int]:
    """The ages of requests that were so old, and each ms more or less, when they were decided."""
    ages: list[int] = []

    def decided() -> bool:
        made, start = now_ms(), len(ages)
        times = [made - age_ms + later for later in range(SPAN_MS)]
        offsets = range(start, start + SPAN_MS)
        sent = encode(SOURCE, 0, start, offsets, [body(1, at=at) for at in times], known=known)
        assert bool(sent.losers) == bool(known)
        reply = engine.decide([sent])[0]
        assert reply.status is Status.DECIDED
        ages.extend(reply.now_ms - at for at in times)
        return age_ms in ages

    wait_until(decided, 30, "a batch that is decided within its span")
    return ages


@pytest.mark.parametrize("counted", [False, True])
def test_who_is_exactly_as_old_as_the_timeout_is_in_time(
    engine: Engine, redis_client: "redis.Redis", counted: bool
) -> None:
    """Also where it is lost for certain, and travels as a count."""
    put_on_sale(redis_client, {1001: 0, 1002: 1}, timeout=TIMEOUT_MS)
    known = {1: Known(1, False, frozenset({1001}))} if counted else {}
    ages = decide_each_age(engine, TIMEOUT_MS, known)
    found = read_lane(redis_client, LANE).activities[1].outcomes
    assert found[Outcome.SOLD_OUT] == sum(age <= TIMEOUT_MS for age in ages)
    assert found[Outcome.EXPIRED] == sum(age > TIMEOUT_MS for age in ages)


@pytest.mark.parametrize(
    ("window", "outcome"),
    [
        ({"closes_at": 0}, Outcome.NOT_OPEN),
        ({"closes_at": 1}, Outcome.ACCEPTED),
        ({"opens_at": 0}, Outcome.ACCEPTED),
        ({"opens_at": 1}, Outcome.NOT_OPEN),
    ],
)
def test_a_window_has_its_first_moment_and_not_its_last(
    engine: Engine, redis_client: "redis.Redis", window: dict[str, int], outcome: Outcome
) -> None:
    """The lane's highest time is an hour ahead of the clock, so the batch has exactly that time."""
    moment = now_ms() + HOUR_MS
    put_on_sale(redis_client, {1001: 5}, **{name: moment + ms for name, ms in window.items()})
    redis_client.hset(LANE.state, "clock", moment)
    reply = engine.decide([batch([body(1)])])[0]
    assert (reply.now_ms, reply.count(outcome)) == (moment, 1)


def test_each_millisecond_goes_into_its_bucket(engine: Engine, redis_client: "redis.Redis") -> None:
    """Exact below 16 ms; then two of them in a bucket, then four."""
    put_on_sale(redis_client, {1001: 1_000_000})
    ages = [max(0, age) for age in decide_each_age(engine, 64)]
    assert set(range(64)) <= set(ages)
    assert read_lane(redis_client, LANE).activities[1].latency.buckets == Counter(map(bucket, ages))


def test_clocks_may_differ_by_exactly_a_minute(
    engine: Engine, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen when a call is decided in the ms in which it was made; before, it changes nothing."""
    put_on_sale(redis_client, {1001: 5})
    sent, real = batch([body(1)]), time.time_ns
    behind_ns = CLOCK_BOUND_MS * 1_000_000
    monkeypatch.setattr("seckill.consumer.engine.time.time_ns", lambda: real() - behind_ns)
    wait_until(
        lambda: engine.decide([sent])[0].status is Status.DECIDED, 5, "a call in the same ms"
    )
