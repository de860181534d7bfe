"""A whole sale for tests of acts: an operator, a consumer's engine, a log worker."""

import threading
from collections.abc import Callable

import redis
from django.db import connection

from seckill.audit.audit import audit
from seckill.consumer.engine import Engine
from seckill.control.control import Control
from seckill.formats.outcomes import Outcome
from seckill.lane.keys import Lane
from seckill.lane.status import ActivityStatus
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.process.shutdown import Shutdown
from tests.helpers.sale import SOURCE, batch, body

LANE = Lane()


class Shop:
    """A sale with an operator, a consumer's engine and a log worker."""

    def __init__(
        self,
        client: "redis.Redis",
        redis_url: str,
        dsn: str,
        lane: Lane = LANE,
        source: str = SOURCE,
    ) -> None:
        self.client, self.redis_url, self.dsn = client, redis_url, dsn
        self.lane, self.source = lane, source
        self.control = Control(client, "olga", lane)
        self.engine = Engine(redis_url, lane)
        self.storage = Storage(dsn, lane.list)
        self.worker = LogWorker(client, self.storage, Shutdown(), lane)
        self.next_offset = 0

    def buy(self, *values: bytes) -> dict[str, int]:
        """Decide requests; how many had which outcome."""
        reply = self.engine.decide([batch(values, self.next_offset, source=self.source)])[0]
        self.next_offset += len(values)
        return {o.name: reply.count(o) for o in Outcome if reply.count(o)}

    def store(self) -> None:
        """Everything to PostgreSQL."""
        while self.worker.run_once():
            pass

    def status(self, activity: int = 1) -> ActivityStatus:
        return self.control.status().activities[activity]

    def item(self, item: int = 1001, activity: int = 1) -> tuple[int, int]:
        """(left, loaded)."""
        found = self.status(activity).items[item]
        return found.left, found.loaded

    def clean(self) -> None:
        """The audit has nothing to say, and allocation is what was loaded."""
        assert audit(self.client, self.lane).findings == []

    def close(self) -> None:
        self.engine.close()
        self.storage.close()


class Busy:
    """The sale goes on in threads: decisions all the time, and, if wanted, storing."""

    def __init__(self, shop: Shop, *, storing: bool = True, users: int = 50) -> None:
        self.shop, self.users, self.storing = shop, users, storing
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        works = [self._decide, self._store] if storing else [self._decide]
        self.threads = [threading.Thread(target=self._run, args=(work,)) for work in works]

    def _run(self, work: Callable[[], None]) -> None:
        try:
            while not self.stop.is_set():
                work()
        except BaseException as failure:
            self.failures.append(failure)
            raise
        finally:
            connection.close()

    def _decide(self) -> None:
        first = self.shop.next_offset
        self.shop.buy(*[body(1 + n % self.users) for n in range(first, first + 20)])

    def _store(self) -> None:
        self.shop.worker.run_once()

    def __enter__(self) -> None:
        for thread in self.threads:
            thread.start()

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(120)
        assert self.failures == []
