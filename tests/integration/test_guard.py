"""The check of a new connection, while other consumers go on: it fences nothing that is sound."""

from collections.abc import Mapping

import pytest
import redis

from devstack.endpoints import Endpoints
from seckill.broker import Position
from seckill.engine import Engine
from seckill.fence import Guard
from seckill.keys import Lane
from seckill.log_worker import LogWorker
from seckill.shutdown import Shutdown
from seckill.stats import read_lane
from seckill.storage import Storage
from tests.sale import SOURCE, batch, body, put_on_sale

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

    Guard(redis_client, LANE, pg_dsn, lambda: SOURCE, committed)()
    engine.close()
    assert read_lane(redis_client, LANE).fence is None
