"""Records on their way to PostgreSQL, and what it has of them."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from django.db import connection

from seckill.formats.record import WireRecord, parse
from seckill.log_worker.storage import Storage
from seckill.models import Item
from seckill.postgres.lease import Claim
from tests.helpers.sale import SOURCE


class Books:
    """A storage on a lane that one Redis leads."""

    def __init__(self, dsn: str) -> None:
        self.storage = Storage(dsn)
        self.claim = Claim()

    def store(self, records: Sequence[WireRecord], **more: Any) -> int:
        """How many are new rows; what is refused is in `refused`."""
        if not self.claim.identity:
            self.claim = self.storage.lead("a server", self.claim)
        texts = [msgspec.json.encode(record) for record in records]
        result = self.storage.store(self.claim, records, texts, **more)
        self.refused = [reason for _, reason in result.refused]
        assert result.new + result.known + len(self.refused) == len(records)
        return result.new

    def check(self) -> None:
        self.storage.check()


def record(offset: int = 0, **members: Any) -> WireRecord:
    """A record as it comes from the list."""
    text = {
        "user_id": 564, "activity_id": 1, "item_id": 1001, "quantity": 2, "cost_ms": 12,
        "status": "success", "timestamp": 1795448539, "source": SOURCE, "partition": 3,
        "offset": offset, "version": 4,
    }  # fmt: skip
    return parse(json.dumps({**text, **members}).encode())


def sold() -> dict[tuple[int, int], int]:
    """{(activity, item): sold} as the inventory says."""
    return {(i.activity_id, i.item_id): i.sold for i in Item.objects.all()}


def cut_all_others(dsn: str) -> None:
    """Terminate all sessions of the database but Django's, as an administrator does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (mine,) = cursor.fetchone()
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend'"
            " AND pid NOT IN (pg_backend_pid(), %s)",
            [mine],
        )
