"""Clicks: a request that carries an id buys once, however often it is sent."""

from collections.abc import Iterator

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.consumer.engine import Engine, Status
from seckill.formats.outcomes import OUTCOME_OF_DIGIT
from seckill.lane.clicks import Place, click_field, look_up
from seckill.lane.keys import MARK, Lane
from seckill.lane.status import read_lane
from tests.helpers.sale import SOURCE, batch, body, put_on_sale, stock, waiting

LANE = Lane()
KEYS = LANE.activity(1)


@pytest.fixture
def engine(stack: Endpoints, redis_client: "redis.Redis") -> Iterator[Engine]:
    """An engine on an empty Redis."""
    engine = Engine(stack.redis_url, LANE)
    yield engine
    engine.close()


def decide(engine: Engine, *values: bytes, start: int = 0, partition: int = 0) -> list[str]:
    """The outcomes of one batch that must be decided."""
    reply = engine.decide([batch(values, start, partition=partition)])[0]
    assert reply.status is Status.DECIDED
    return [OUTCOME_OF_DIGIT[digit].name for digit in reply.outcomes]


def click(user: int, request_id: str = "click-1", units: int = 1) -> bytes:
    """A request with an id."""
    return body(user, {1001: units}, request_id=request_id)


def test_a_repeated_click_moves_no_stock(engine: Engine, redis_client: "redis.Redis") -> None:
    put_on_sale(redis_client, {1001: 10})
    assert decide(engine, click(1), click(1)) == ["ACCEPTED", "REPEATED"]
    assert decide(engine, click(1), click(1), start=2) == ["REPEATED", "REPEATED"]
    # Through another partition too.
    assert decide(engine, click(1), partition=1) == ["REPEATED"]
    assert stock(redis_client) == {1001: 9}
    assert len(waiting(redis_client)) == 1
    assert read_lane(redis_client, LANE).activities[1].total_units == 1


def test_the_board_says_repeated_and_the_click_says_where(
    engine: Engine, redis_client: "redis.Redis"
) -> None:
    put_on_sale(redis_client, {1001: 10})
    decide(engine, body(9), click(1), click(1))
    assert redis_client.get(LANE.board(SOURCE, 0, 0)) == b"009"
    fields = [click_field(1, "click-1"), click_field(2, "click-1")]
    assert look_up(redis_client, LANE, 1, fields) == [Place(SOURCE, 0, 1), None]


def test_a_click_is_its_users_and_its_activitys(
    engine: Engine, redis_client: "redis.Redis"
) -> None:
    put_on_sale(redis_client, {1001: 10})
    put_on_sale(redis_client, {1001: 10}, activity=2)
    another = body(1, request_id="click-1", activity_id=2)
    assert decide(engine, click(1), click(2), another, click(1, "click-2")) == ["ACCEPTED"] * 4


def test_a_refused_click_may_be_tried_again(engine: Engine, redis_client: "redis.Redis") -> None:
    put_on_sale(redis_client, {1001: 1})
    assert decide(engine, click(1, units=2), click(1)) == ["SOLD_OUT", "ACCEPTED"]


def test_a_repeat_after_the_end_reads_why_others_are_refused(
    engine: Engine, redis_client: "redis.Redis"
) -> None:
    """So nobody tells a refusal before a look at the clicks: this buyer has bought."""
    put_on_sale(redis_client, {1001: 1}, user_limit=5)
    assert decide(engine, click(1), click(1)) == ["ACCEPTED", "OVER"]
    assert look_up(redis_client, LANE, 1, [click_field(1, "click-1")]) == [Place(SOURCE, 0, 0)]


@pytest.mark.parametrize("request_id", ['a"b', "漢字\n\t\\", ":", "1:x", "x" * 64])
def test_any_text_is_an_id(engine: Engine, redis_client: "redis.Redis", request_id: str) -> None:
    put_on_sale(redis_client, {1001: 10})
    assert decide(engine, click(1, request_id), click(1, request_id)) == ["ACCEPTED", "REPEATED"]
    found = look_up(redis_client, LANE, 1, [click_field(1, request_id)])
    assert found == [Place(SOURCE, 0, 0)]


@pytest.mark.parametrize("request_id", ["", None])
def test_a_request_without_an_id_is_no_click(
    engine: Engine, redis_client: "redis.Redis", request_id: str | None
) -> None:
    put_on_sale(redis_client, {1001: 10})
    value = body(1, request_id=request_id)
    assert decide(engine, value, value) == ["ACCEPTED", "ACCEPTED"]
    assert redis_client.hkeys(KEYS.clicks) == [MARK]


def test_a_redelivered_batch_is_not_a_repeated_click(
    engine: Engine, redis_client: "redis.Redis"
) -> None:
    put_on_sale(redis_client, {1001: 10})
    decide(engine, click(1))
    assert engine.decide([batch([click(1)])])[0].status is Status.DUPLICATE
    reply = engine.decide([batch([click(1), click(2)])])[0]
    assert reply.outcomes == b".0"


def test_more_clicks_than_lua_unpacks(engine: Engine, redis_client: "redis.Redis") -> None:
    put_on_sale(redis_client, {1001: 20_000})
    values = [click(n, f"click-{n}") for n in range(1, 9_001)]
    assert decide(engine, *values) == ["ACCEPTED"] * 9_000
    assert redis_client.hlen(KEYS.clicks) == 9_001
    assert read_lane(redis_client, LANE).clicks == {1: 9_000}


def test_clicks_that_were_evicted_fence_the_lane(
    engine: Engine, redis_client: "redis.Redis"
) -> None:
    put_on_sale(redis_client, {1001: 10})
    decide(engine, click(1))
    redis_client.delete(KEYS.clicks)
    reply = engine.decide([batch([click(1)], 1)])[0]
    assert reply.status is Status.FENCED
    assert "the clicks of activity 1 are missing" in reply.why
    assert stock(redis_client) == {1001: 9}


def test_an_activity_loaded_by_a_version_without_clicks_sells(
    engine: Engine, redis_client: "redis.Redis"
) -> None:
    """It remembers from now on. The audit says what it does not know."""
    put_on_sale(redis_client, {1001: 10})
    redis_client.hdel(KEYS.state, "clicks")
    redis_client.delete(KEYS.clicks)
    assert decide(engine, click(1), click(1)) == ["ACCEPTED", "REPEATED"]
