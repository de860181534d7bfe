"""A log worker on real services, turn by turn; lines that are lost."""

from typing import Any

import redis

from seckill.consumer.engine import Engine
from seckill.lane.keys import Lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import Item, Record
from seckill.process.shutdown import Shutdown
from tests.helpers.sale import batch, body, new_source, only_reads, put_on_sale, waiting

LANE = Lane()


class StoredSale:
    """A sale of which some requests are accepted, and workers to store them."""

    def __init__(self, client: "redis.Redis", redis_url: str, dsn: str) -> None:
        self.client, self.redis_url, self.dsn = client, redis_url, dsn
        self.engine = Engine(redis_url, LANE)
        self.storages: list[Storage] = []
        self.said: list[str] = []
        put_on_sale(client, {1001: 10**6, 1002: 10**6})

    def accept(self, requests: int, items: dict[int, int] | None = None) -> None:
        """So many accepted requests, each with its records in the list."""
        values = [body(n, items) for n in range(1, requests + 1)]
        self.engine.decide([batch(values, source=new_source())])

    def worker(
        self, storage: Storage | None = None, client: "redis.Redis | None" = None, **options: Any
    ) -> LogWorker:
        """A worker with a connection of its own."""
        self.storages.append(storage or Storage(self.dsn))
        return LogWorker(
            client or self.client, self.storages[-1], Shutdown(), say=self.said.append, **options
        )

    def close(self) -> None:
        self.engine.close()
        for storage in self.storages:
            storage.close()


def all_stored_once(sale: StoredSale, records: int) -> None:
    """Every record is a row, the list is empty, the inventory is the sum."""
    assert waiting(sale.client) == []
    rows = list(Record.objects.values_list("item_id", "quantity"))
    assert len(rows) == records
    for item in Item.objects.all():
        assert item.sold == sum(units for number, units in rows if number == item.item_id)


class Lossy(redis.Redis):
    """Does what it is asked, and then, once, loses the answer to one command, if it writes."""

    lose: str | None = None

    def execute_command(self, *args: Any, **options: Any) -> Any:
        answer = super().execute_command(*args, **options)
        if not only_reads(args):
            self._lost(args[0])
        return answer

    def pipeline(self, *args: Any, **options: Any) -> Any:
        pipe = super().pipeline(*args, **options)
        execute = pipe.execute

        def lossy() -> Any:
            answer = execute()
            self._lost("LRANGE")
            return answer

        pipe.execute = lossy
        return pipe

    def _lost(self, command: str) -> None:
        if command == self.lose:
            self.lose = None
            raise redis.ConnectionError("the answer was lost")
