"""The check of a new connection, while other consumers go on: it fences nothing that is sound."""

from collections.abc import Callable, Mapping

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.broker import Position
from seckill.consumer.engine import Engine, Status
from seckill.consumer.guard import Guard
from seckill.errors import BrokerAway, RedisAway
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.process.shutdown import Shutdown
from tests.helpers.sale import SOURCE, batch, body, put_on_sale, waiting

LANE = Lane()


@pytest.mark.parametrize("witness", ["Kafka", "PostgreSQL"])
def test_others_decide_and_store_while_it_asks(
    stack: Endpoints, redis_client: "redis.Redis", pg_dsn: str, witness: str
) -> None:
    put_on_sale(redis_client, {1001: 1000})
    engine = Engine(stack.redis_url, LANE)
    engine.decide([batch([body(n) for n in range(1, 11)])])

    def committed() -> Mapping[int, Position]:
        """Another consumer decides, and a log worker stores, before the answer comes."""
        engine.decide([batch([body(n) for n in range(11, 21)], 10)])
        if witness == "Kafka":
            return {0: Position(20, source=SOURCE)}
        storage = Storage(pg_dsn)
        LogWorker(redis_client, storage, Shutdown()).run(drain=True)
        storage.close()
        return {0: Position(0)}

    guard = Guard(redis_client, LANE, pg_dsn, lambda: SOURCE, committed, "test")
    guard.admit(redis_client.info("server")["run_id"])
    guard.close()
    engine.close()
    assert read_lane(redis_client, LANE).fence is None


def unknown_topic() -> str | None:
    """As Kafka answers before it has loaded its metadata."""
    return None


def kafka_away() -> str | None:
    """As Kafka answers while it is down."""
    raise BrokerAway("no answer")


@pytest.mark.parametrize("unanswered", [unknown_topic, kafka_away])
def test_nothing_is_decided_before_kafka_has_answered(
    stack: Endpoints,
    redis_client: "redis.Redis",
    pg_dsn: str,
    unanswered: Callable[[], str | None],
) -> None:
    """Redis has lost a partition that another one's batch knows nothing of."""
    put_on_sale(redis_client, {1001: 5})
    asked = [unanswered]
    committed = {1: Position(3, source=SOURCE)}
    guard = Guard(redis_client, LANE, pg_dsn, lambda: asked[-1](), lambda: committed, "test")
    engine = Engine(stack.redis_url, LANE, guard=guard)
    with pytest.raises(RedisAway, match="cannot be compared with Kafka yet"):
        engine.decide([batch([body()])])
    assert waiting(redis_client) == []

    asked.append(lambda: SOURCE)
    assert engine.decide([batch([body()])])[0].status is Status.FENCED
    assert waiting(redis_client) == []
    guard.close()
    engine.close()
