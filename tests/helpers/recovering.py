"""A shop whose Redis is lost or set back."""

from typing import Any

import redis

from seckill.consumer.engine import Engine
from seckill.control.control import Control
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.process.shutdown import Shutdown
from seckill.recovery.rebuild import Done, recover
from tests.helpers.sale import SOURCE, batch

LANE = Lane()


class LostShop:
    """A sale with an operator, a consumer's engine and a log worker."""

    def __init__(self, client: "redis.Redis", redis_url: str, dsn: str) -> None:
        self.client = client
        self.control = Control(client, "olga", LANE)
        self.engine = Engine(redis_url, LANE)
        self.storage = Storage(dsn)
        self.worker = LogWorker(client, self.storage, Shutdown())
        self.said: list[str] = []

    def buy(self, start: int, *values: bytes, generation: int = 0, partition: int = 0) -> Any:
        """Decide one batch; the reply."""
        made = batch(values, start, partition=partition)
        made.generation = generation
        return self.engine.decide([made])[0]

    def store(self) -> None:
        """Everything to PostgreSQL."""
        while self.worker.run_once():
            pass

    def recover(self, **more: bool) -> Done:
        """As the command does it."""
        done = recover(self.client, LANE, SOURCE, [0, 1], "test", self.said.append, **more)
        assert done.report.findings == []
        assert done.lifted
        return done

    def left(self, activity: int = 1) -> dict[int, int]:
        """{item: units left}."""
        items = read_lane(self.client, LANE).activities[activity].items
        return {number: item.left for number, item in items.items()}


def snapshot(client: "redis.Redis") -> dict[bytes, bytes]:
    """A copy of all of Redis, as an append-only file of this moment would bring it back."""
    return {key: client.dump(key) for key in client.scan_iter()}  # type: ignore[misc]


def set_back(client: "redis.Redis", copy: dict[bytes, bytes]) -> None:
    """Redis as it was when the copy was made."""
    client.flushall()
    for key, value in copy.items():
        client.restore(key, 0, value)
