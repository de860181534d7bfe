"""The history of a lane in Redis: one sample a second, bounded, quiet times cost nothing."""

import itertools

import msgspec
import pytest
import redis

from seckill.consumer.engine import Engine
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.telemetry import history as series
from seckill.telemetry.history import append_sample, read_series, sample_of
from tests.conftest import wait_until
from tests.helpers import sale

LANE = Lane()


def sample(client: "redis.Redis", lag: dict[int, int] | None = None) -> series.Sample:
    return sample_of(read_lane(client, LANE), lag)


def age(client: "redis.Redis", seconds: int) -> None:
    """Make all samples older, as if they had been written before."""
    found: list[tuple[bytes, float]] = client.zrange(LANE.series, 0, -1, withscores=True)  # type: ignore[assignment]
    client.delete(LANE.series)
    for member, score in found:
        stamp, _, body = member.partition(b" ")
        at = int(stamp) - seconds * 1000
        client.zadd(LANE.series, {b"%d %s" % (at, body): score - seconds * 1000})


def test_a_sample_has_what_the_lane_has(redis_client: "redis.Redis", server: object) -> None:
    sale.put_on_sale(redis_client, {1001: 2, 1002: 5})
    engine = Engine(server.redis_url, LANE)  # type: ignore[attr-defined]
    old = sale.now_ms() - 60_000
    engine.decide([sale.batch([sale.body(1), sale.body(2), sale.body(3), b"junk"])])
    redis_client.hset(LANE.activity(1).state, "timeout", "1000")
    engine.decide([sale.batch([sale.body(4, {1002: 1}, old)], 4)])
    engine.close()
    assert append_sample(redis_client, LANE, sample(redis_client, {0: 7, 1: 0}))
    (kept,) = read_series(redis_client, LANE)
    activity = kept.activities[1]
    assert (activity.left, activity.units_left, activity.units_sold) == ({1001: 0, 1002: 5}, 5, 2)
    assert activity.outcomes["ACCEPTED"] == 2
    assert activity.outcomes["SOLD_OUT"] == activity.outcomes["EXPIRED"] == 1
    assert activity.expired_with_stock == 1
    assert sum(activity.cost_ms.values()) == 4
    assert (kept.invalid, kept.waiting, kept.stored, kept.decided) == (1, 2, 0, 5)
    assert kept.lag == {0: 7, 1: 0}
    assert abs(kept.at_ms - sale.now_ms()) < 60_000


def test_a_second_has_one_sample_however_many_parents_write(redis_client: "redis.Redis") -> None:
    written = 0
    for lag in itertools.count():
        # Bodies all differ: none is left out for being the same.
        written += append_sample(redis_client, LANE, sample(redis_client, {0: lag}))
        if written == 3:
            break
    seconds = [kept.at_ms // 1000 for kept in read_series(redis_client, LANE)]
    assert lag > 3
    assert len(seconds) == len(set(seconds)) == 3


def test_a_quiet_time_keeps_its_first_and_its_last_sample(redis_client: "redis.Redis") -> None:
    for _ in range(5):
        age(redis_client, 1)
        assert append_sample(redis_client, LANE, sample(redis_client, {0: 1}))
    quiet = [kept.at_ms for kept in read_series(redis_client, LANE)]
    assert len(quiet) == 2
    assert quiet[1] - quiet[0] >= 4000
    age(redis_client, 1)
    assert append_sample(redis_client, LANE, sample(redis_client, {0: 2}))
    assert [kept.lag for kept in read_series(redis_client, LANE)] == [{0: 1}, {0: 1}, {0: 2}]


def test_the_history_is_bounded(
    redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "SAMPLES_KEPT", 3)
    for lag in range(6):
        age(redis_client, 1)
        append_sample(redis_client, LANE, sample(redis_client, {0: lag}))
    kept = read_series(redis_client, LANE)
    assert [one.lag for one in kept] == [{0: 3}, {0: 4}, {0: 5}]
    later = read_series(redis_client, LANE, kept[0].at_ms)
    assert later == kept[1:]


def test_many_items_are_one_sum(redis_client: "redis.Redis") -> None:
    sale.put_on_sale(redis_client, dict.fromkeys(range(1, 201), 3))
    activity = sample(redis_client).activities[1]
    assert len(activity.left) == series.ITEMS_KEPT
    assert activity.units_left == 600


def test_a_sample_of_a_later_version_can_still_be_read(redis_client: "redis.Redis") -> None:
    append_sample(redis_client, LANE, sample(redis_client))
    (member,) = redis_client.zrange(LANE.series, 0, -1)  # type: ignore[misc]
    stamp, _, body = member.partition(b" ")
    more = msgspec.json.encode({**msgspec.json.decode(body), "new": 1})
    redis_client.zadd(LANE.series, {stamp + b" " + more: int(stamp)})
    wait_until(lambda: len(read_series(redis_client, LANE)) == 2, 5, "both are read")
