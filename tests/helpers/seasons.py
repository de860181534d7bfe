"""The table of orders in partitions, for tests; and one table again afterwards."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from django.db import connection

from seckill.consumer.engine import Engine
from seckill.control.control import Control
from seckill.lane.keys import Lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import Record
from seckill.postgres.seasons import FIRST
from seckill.process.shutdown import Shutdown
from seckill.seasons.archive import Archive, Archived
from seckill.seasons.begin import begin
from seckill.seasons.partition import Partitioned, partition
from seckill.seasons.plan import Plan
from seckill.seasons.tables import owners_connection
from tests.helpers.sale import batch, body, new_source

LANE = Lane()

LEFT = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'seckill_record%'"


def ask(statement: str) -> list[Any]:
    """The rows of an answer."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def partitioned(dsn: str, sources: Iterable[str] = ()) -> Partitioned:
    """What `manage.py seasons partition` does."""
    with owners_connection(dsn) as owner:
        return partition(owner, lambda: sources, lambda line: None)


def begun(dsn: str, source: str) -> str | None:
    """What `manage.py seasons begin` does."""
    with owners_connection(dsn) as owner:
        return begin(owner, source, lambda line: None)


def one_table_again() -> None:
    """As migrations made it, and empty."""
    for (name,) in ask(LEFT):
        with connection.cursor() as cursor:
            cursor.execute(f'DROP TABLE IF EXISTS "{name}" CASCADE')
    with connection.schema_editor() as editor:
        editor.create_model(Record)


@dataclass
class Seasons:
    """A lane whose first season is over, and whose second one is on sale."""

    client: "redis.Redis"
    redis_url: str
    dsn: str
    folder: Path
    old: str = field(default_factory=new_source)
    new: str = field(default_factory=new_source)
    reading: str = ""

    def __post_init__(self) -> None:
        self.control = Control(self.client, "olga", LANE)
        self.reading = self.reading or self.new

    def sell(self, source: str, activity: int, users: range, start: int = 0) -> None:
        """A request of each user; all are accepted, and stored."""
        values = [body(n, activity_id=activity, request_id=f"r-{n}") for n in users]
        engine = Engine(self.redis_url, LANE)
        engine.decide([batch(values, start, source=source)])
        engine.close()
        self.drain()

    def drain(self) -> None:
        storage = Storage(self.dsn)
        LogWorker(self.client, storage, Shutdown(), say=lambda line: None).run(drain=True)
        storage.close()

    def archive(self, name: str = FIRST, *, do: bool = True) -> Archived | Plan:
        """What `manage.py seasons archive` does."""
        with owners_connection(self.dsn) as owner:
            act = Archive(owner, {"main": self.client}, {"main": self.reading}, lambda line: None)
            plan = act.plan(name)
            if plan.done:
                act.finish(plan)
            elif do:
                return act.do(plan, self.folder, "olga", "a note")
            return plan
