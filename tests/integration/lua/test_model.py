"""Random sales on the real services against the model: the same answers, and the same left behind.

Batches of several partitions and two topics, split anywhere, delivered again and overlapping, with
holes and bad bodies; operators set stock, finish, configure and sync in between; the log worker
stores. MODEL_EXAMPLES=1000 in the environment looks longer than the suite has time for.
"""

import os
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from django.db import connection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from devstack.endpoints import Endpoints
from seckill.audit.audit import audit
from seckill.control.control import Control
from seckill.formats.outcomes import MAX_ID
from seckill.lane.keys import Lane
from seckill.log_worker.storage import Storage
from seckill.log_worker.worker import LogWorker
from seckill.models import Activity, Record
from seckill.process.shutdown import Shutdown
from tests.helpers.lockstep import ACTIVITIES, HOLE, HOUR_MS, ITEMS, PLACES, Ask, Lockstep
from tests.helpers.model import FOREVER, ModelSale
from tests.helpers.sale import now_ms

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "150"))


def mostly(*usual: Any, now_and_then: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """One of the usual values in seven of eight cases."""
    return st.sampled_from([*usual * (7 * len(now_and_then)), *now_and_then * len(usual)] or usual)


asks = st.builds(
    Ask,
    user=st.sampled_from([1, 2, 3, MAX_ID]),
    items=st.dictionaries(
        mostly(1001, *ITEMS, now_and_then=(9999,)), st.integers(1, 3), min_size=1, max_size=3
    ),
    # Fresh, too old for a timeout of its own, for the default one too, and from the future.
    age=mostly(0, now_and_then=(10_000, HOUR_MS, -HOUR_MS)),
    activity=mostly(1, 1, MAX_ID, now_and_then=(77,)),
    request_id=st.sampled_from([None, "r-1", '"漢\\\n']),
)
# What stands at an offset: a request, INVALID (None), or nothing at all.
messages = st.integers(0, 15).flatmap(lambda n: asks if n < 14 else st.sampled_from([None, HOLE]))
stocks = st.dictionaries(
    st.sampled_from(ITEMS), st.sampled_from([0, 1, 4, 10, 30]), min_size=1, max_size=3
)
decisions = st.fixed_dictionaries(
    {
        "place": st.sampled_from(PLACES),
        # From the position on, before it (again), or behind it, which must not be.
        "shift": st.sampled_from([0, 0, 0, 0, -1, -3, -20, 1]),
        "more": st.lists(messages, min_size=1, max_size=12),
        "cuts": st.lists(st.integers(1, 11), max_size=2),
    }
)
configurations = st.fixed_dictionaries(
    {
        "number": st.integers(0, 1),
        "limit": st.sampled_from([None, 2, 5, 9]),
        "opens": mostly(None, -HOUR_MS, now_and_then=(HOUR_MS,)),
        "closes": mostly(None, 2 * HOUR_MS, now_and_then=(-1,)),
        "timeout": st.sampled_from([None, 5_000]),
    }
)
set_stocks = st.fixed_dictionaries({"activity": st.sampled_from(ACTIVITIES), "stock": stocks})
numbers = st.fixed_dictionaries({"number": st.integers(0, 1)})
sizes = st.fixed_dictionaries({"size": st.sampled_from([1, 3, 10_000])})
# What happens, and how often among 20 things.
HAPPENS = (
    (11, "decide", decisions),
    (2, "set_stock", set_stocks),
    (2, "configure", configurations),
    (1, "sync", numbers),
    (1, "finish", numbers),
    (2, "store", sizes),
    (1, "forget_scripts", st.just({})),
)
steps = st.one_of(
    *(st.tuples(st.just(name), how) for times, name, how in HAPPENS for _ in range(times))
)
# A sale begins with stock for everything, or (one in eight) with nothing loaded at all.
beginnings = mostly(
    [("set_stock", {"activity": a, "stock": dict.fromkeys(ITEMS, 30)}) for a in ACTIVITIES],
    [("set_stock", {"activity": 1, "stock": dict.fromkeys(ITEMS, 8)})],
    [("set_stock", {"activity": 1, "stock": {1001: 9}})],
    now_and_then=([],),
)


class Both(Lockstep):
    """Lockstep through PostgreSQL: acts by `Control`, records stored by a log worker."""

    def __init__(self, client: "redis.Redis", redis_url: str, pg_dsn: str) -> None:
        super().__init__(client, redis_url)
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE seckill_record, seckill_item, seckill_activity, seckill_stockchange"
            )
        self.control = Control(client, "model", Lane())
        self.storage = Storage(pg_dsn)
        self.worker = LogWorker(client, self.storage, Shutdown())

    def set_stock(self, activity: int, stock: dict[int, int]) -> None:
        act = self.control.set_stock(activity, stock)
        sale = self.model.sales.setdefault(activity, ModelSale())
        sale.put(stock)
        self.acted(sale, act.version)
        self.baselines[activity] = sale.counters.copy()

    def finish(self, number: int) -> None:
        if not self.model.sales:
            return
        activity, sale = self.some(number)
        act = self.control.finish(activity)
        sale.over = "finished"
        self.acted(sale, act.version)

    def configure(
        self, number: int, limit: int | None, opens: int | None, closes: int | None,
        timeout: int | None,
    ) -> None:  # fmt: skip
        if not self.model.sales:
            return
        if opens is not None and closes is not None and opens >= closes:
            closes = None
        activity, sale = self.some(number)
        now = now_ms()
        row = Activity.objects.get(pk=activity)
        row.user_limit, row.timeout_ms = limit, timeout
        row.opens_at = None if opens is None else _moment(now + opens)
        row.closes_at = None if closes is None else _moment(now + closes)
        act = self.control.configure(row)
        sale.limit, sale.timeout = limit or FOREVER, timeout
        sale.opens = 0 if opens is None else now + opens
        sale.closes = FOREVER if closes is None else now + closes
        if act is not None:
            self.acted(sale, act.version)

    def sync(self, number: int) -> None:
        """Changes nothing but the version: the database says the same, whatever still waits."""
        if not self.model.sales:
            return
        activity, sale = self.some(number)
        self.acted(sale, self.control.sync_from_db(activity).version)

    def store(self, size: int) -> None:
        self.worker.batch_size = size
        self.stored += self.worker.run_once()

    def forget_scripts(self) -> None:
        self.client.script_flush()

    def end(self) -> None:
        """Everything stored, each record once, and the audit has nothing to say."""
        self.worker.batch_size = 10_000
        while self.worker.run_once():
            pass
        assert Record.objects.count() == len(self.model.records)
        if self.model.sales:
            report = audit(self.client, Lane())
            assert report.findings == []

    def close(self) -> None:
        self.engine.close()
        self.storage.close()


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


@pytest.mark.timeout(0 if EXAMPLES > 100 else 600)
def test_the_system_does_what_the_model_says(
    redis_client: "redis.Redis", stack: Endpoints, pg_dsn: str
) -> None:
    seen: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # A short look only wants to know whether there is one.
        phases=[Phase.explicit, Phase.generate, *[Phase.shrink] * (EXAMPLES >= 100)],
    )
    @given(beginning=beginnings, sequel=st.lists(steps, min_size=8, max_size=16))
    def play(beginning: list[Any], sequel: list[Any]) -> None:
        both = Both(redis_client, stack.redis_url, pg_dsn)
        try:
            for name, how in [*beginning, *sequel]:
                getattr(both, name)(**how)
                both.compare()
            both.end()
        finally:
            both.close()
        seen.update(counted=both.counted, stale=both.stale)

    play()
    assert seen["counted"] > 0
    assert seen["stale"] > 0
