"""Random sales on the real services against the model: the same answers, and the same left behind.

Batches of several partitions and two topics, split anywhere, delivered again and overlapping, with
holes and bad bodies; operators set stock, finish, configure and sync in between; the log worker
stores. MODEL_EXAMPLES=1000 in the environment looks longer than the suite has time for.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
import redis
from django.db import connection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from devstack.endpoints import Endpoints
from seckill.audit import audit
from seckill.batch import NOTHING_KNOWN, Batch, Known, encode, skip
from seckill.control import Control
from seckill.engine import OUTCOME_OF_DIGIT, Engine, Status
from seckill.fence import lift
from seckill.keys import Lane, position_field
from seckill.log_worker import LogWorker
from seckill.models import Activity, Record
from seckill.shutdown import Shutdown
from seckill.stats import read_lane
from seckill.storage import Storage
from seckill.wire import MAX_ID, Outcome
from tests.model import FOREVER, Model, Place, Sale, Wish
from tests.sale import body, now_ms, waiting
from tests.unit.test_stats import histogram

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "150"))
TIMEOUT_MS = 60_000
SOURCES = ("0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111", "0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a222")
PLACES = [(SOURCES[0], 0), (SOURCES[0], 1), (SOURCES[1], 0)]
# An activity and an item that are never loaded are among those that requests name.
ACTIVITIES, ITEMS = [1, MAX_ID], [1001, 1002, MAX_ID]
HOUR_MS = 3_600_000
HOLE = "hole"


def mostly(*usual: Any, now_and_then: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """One of the usual values in seven of eight cases."""
    return st.sampled_from([*usual * (7 * len(now_and_then)), *now_and_then * len(usual)] or usual)


@dataclass(frozen=True)
class Ask:
    """A request that is to be sent: its age instead of its time."""

    user: int
    items: dict[int, int]
    age: int
    activity: int
    request_id: str | None

    def wish(self) -> Wish:
        """The request, as of now."""
        return Wish(self.user, self.items, now_ms() - self.age, self.activity, self.request_id)


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


class Both:
    """The system and the model. Each method does the same to both of them."""

    def __init__(self, client: "redis.Redis", redis_url: str, pg_dsn: str) -> None:
        client.flushall()
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE seckill_record, seckill_item, seckill_activity, seckill_stockchange"
            )
        self.client = client
        self.engine = Engine(redis_url, Lane(), TIMEOUT_MS)
        self.control = Control(client, "model")
        self.storage = Storage(pg_dsn)
        self.worker = LogWorker(client, self.storage, Shutdown())
        self.model = Model(default_timeout=TIMEOUT_MS)
        self.stored = 0
        self.logs: dict[Place, list[Any]] = {place: [] for place in PLACES}
        self.baselines: dict[int, Counter[Any]] = {}
        self.known: dict[int, Known] = {}
        # How often losers travelled as counts, and how often they had to travel again.
        self.counted = self.stale = 0

    def decide(self, place: Place, shift: int, more: list[Any], cuts: list[int]) -> None:
        """A consumer that starts at the position, before it (again), or wrongly behind it."""
        log = self.logs[place]
        more = [ask.wish() if isinstance(ask, Ask) else ask for ask in more]
        start = max(0, self.model.positions.get(place, 0) + shift)
        end = start + len(more)
        log += more[max(0, len(log) - start) :] if len(log) >= start else [HOLE, *more]
        assert len(log) >= end
        parts = sorted({start, end, *(start + cut for cut in cuts if start + cut < end)})
        batches, contents = [], []
        for low, high in pairwise(parts):
            contents.append([(at, log[at]) for at in range(low, high) if log[at] != HOLE])
            batches.append(_batch(place, low, high, contents[-1]))
            # A batch ends with its last message: what is missing after it is known by the next.
            if contents[-1] and batches[-1].end < high:
                contents.append([])
                batches.append(_batch(place, batches[-1].end, high, []))
        if len(batches) == 1 and contents[0]:
            # As consumers send it: certain losers as counts.
            batches = [_batch(place, batches[0].start, batches[0].end, contents[0], self.known)]
        replies = self.engine.decide(batches)
        if replies[0].status is Status.STALE:
            self.stale += 1
            replies = self.engine.decide([batches[0].whole()])
            batches = [batches[0].whole()]
        fenced = False
        for batch, messages, reply in zip(batches, contents, replies, strict=True):
            if fenced:
                assert reply.status is Status.FENCED
                continue
            status, outcomes = self.model.decide(
                place, batch.start, batch.end, messages, reply.now_ms
            )
            assert reply.status is status
            counted = [bool(batch.losers) and self._lost(wish) for _, wish in messages]
            self.counted += sum(counted)
            assert [OUTCOME_OF_DIGIT.get(byte) for byte in reply.outcomes] == [
                outcome for outcome, lost in zip(outcomes, counted, strict=False) if not lost
            ]
            if status is not Status.NOT_LOADED:
                assert reply.position == self.model.positions.get(place, 0)
            fenced = status is Status.REWOUND
        for reply in replies:
            self.known.update(reply.known)
        assert lift(self.client, Lane()) == fenced

    def _lost(self, wish: Wish | None) -> bool:
        """Whether a request travelled as a count."""
        told = self.known.get(wish.activity) if wish else None
        return told is not None and (told.over or told.gone.issuperset(wish.items))  # type: ignore[union-attr]

    def set_stock(self, activity: int, stock: dict[int, int]) -> None:
        act = self.control.set_stock(activity, stock)
        sale = self.model.sales.setdefault(activity, Sale())
        sale.put(stock)
        self._acted(sale, act.version)
        self.baselines[activity] = sale.counters.copy()

    def finish(self, number: int) -> None:
        if not self.model.sales:
            return
        activity, sale = self._some(number)
        act = self.control.finish(activity)
        sale.over = "finished"
        self._acted(sale, act.version)

    def configure(
        self, number: int, limit: int | None, opens: int | None, closes: int | None,
        timeout: int | None,
    ) -> None:  # fmt: skip
        if not self.model.sales:
            return
        if opens is not None and closes is not None and opens >= closes:
            closes = None
        activity, sale = self._some(number)
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
            self._acted(sale, act.version)

    def sync(self, number: int) -> None:
        """Changes nothing but the version: the database says the same, whatever still waits."""
        if not self.model.sales:
            return
        activity, sale = self._some(number)
        self._acted(sale, self.control.sync_from_db(activity).version)

    def store(self, size: int) -> None:
        self.worker.batch_size = size
        self.stored += self.worker.run_once()

    def forget_scripts(self) -> None:
        self.client.script_flush()

    def compare(self) -> None:
        lane, model = read_lane(self.client), self.model
        assert lane.loaded == bool(model.sales)
        assert lane.positions == {
            position_field(*place): offset for place, offset in model.positions.items()
        }
        assert (lane.invalid, lane.no_such_activity, lane.skipped) == tuple(
            model.lane[name] for name in (Outcome.INVALID, Outcome.NO_SUCH_ACTIVITY, "skipped")
        )
        assert waiting(self.client) == model.records[self.stored :]
        # The order of the members too: the original's seven come first.
        assert [list(r) for r in waiting(self.client)] == [
            list(r) for r in model.records[self.stored :]
        ]
        assert lane.activities.keys() == model.sales.keys()
        for activity, status in lane.activities.items():
            sale = model.sales[activity]
            assert {i: s.left for i, s in status.items.items()} == sale.stock
            assert {i: s.loaded for i, s in status.items.items()} == sale.loaded
            assert (status.over, status.version) == (sale.over, sale.version)
            counted: Counter[Any] = Counter(status.total_outcomes)
            counted.update(units=status.total_units, records=status.total_records)
            counted["expired_with_stock"] = sale.counters["expired_with_stock"]
            assert +counted == +sale.counters
            since = sale.counters - self.baselines[activity]
            assert +Counter(status.outcomes) == Counter(
                {name: since[name] for name in Outcome if since[name]}
            )
            assert status.expired_with_stock == since["expired_with_stock"]
            assert self._buckets(activity) == histogram(sale.costs).buckets
            if sale.limit != FOREVER:
                bought = self.client.hgetall(Lane().activity(activity).buyers)
                assert {int(u): int(n) for u, n in bought.items()} == dict(+sale.buyers)

    def end(self) -> None:
        """Everything stored, each record once, and the audit has nothing to say."""
        self.worker.batch_size = 10_000
        while self.worker.run_once():
            pass
        assert Record.objects.count() == len(self.model.records)
        if self.model.sales:
            report = audit(self.client)
            assert report.findings == []

    def close(self) -> None:
        self.engine.close()
        self.storage.close()

    def _some(self, number: int) -> tuple[int, Sale]:
        known = list(self.model.sales.items())
        return known[number % len(known)]

    def _acted(self, sale: Sale, version: int) -> None:
        assert version > sale.version
        sale.version = version

    def _buckets(self, activity: int) -> dict[int, int]:
        counters = self.client.hgetall(Lane().activity(activity).stats)
        return {
            int(name.removeprefix(b"ms:")): int(count)
            for name, count in counters.items()
            if name.startswith(b"ms:")
        }


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _batch(
    place: Place,
    start: int,
    end: int,
    messages: list[tuple[int, Wish | None]],
    known: Mapping[int, Known] = NOTHING_KNOWN,
) -> Batch:
    if not messages:
        return skip(*place, start, end)
    offsets = [offset for offset, _ in messages]
    return encode(*place, start, offsets, [_value(wish) for _, wish in messages], known=known)


def _value(wish: Wish | None) -> bytes:
    if wish is None:
        return json.dumps({"user_id": 0}).encode()
    more: dict[str, Any] = {} if wish.activity == 1 else {"activity_id": wish.activity}
    if wish.request_id is not None:
        more["request_id"] = wish.request_id
    return body(wish.user, wish.items, wish.at, **more)


@pytest.mark.timeout(0 if EXAMPLES > 100 else 180)
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
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
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
