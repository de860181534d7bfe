"""Growth: the same work with more and more data. The rate must not fall, nor memory rise.

On each axis the first size is the baseline ("fresh"), and the others are compared with it.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import psycopg

from bench import limits
from bench.deciding import EVEN
from bench.figures import Figure
from bench.rig import CLIENTS, UNLIMITED, Rig
from bench.storing import fill
from seckill.lane.keys import Lane

# As a share of the fresh rate.
GOAL = 0.9
# Fields in one HSET.
CHUNK = 10_000
ROWS = """
INSERT INTO seckill_record (user_id, activity_id, item_id, quantity, cost_ms, status, ts, source,
    partition, "offset", version)
SELECT (n * 7919::bigint) %% 10000019 + 1, 9, 1001 + n %% 5, 1, n %% 100, 'success',
    now() - (%(rows)s - n) * interval '1 ms', %(source)s::uuid, n %% 4, n / 4, 1
FROM generate_series(1, %(rows)s) AS n
"""


def backlog(rig: Rig) -> list[Figure]:
    """Consumers on longer and longer backlogs."""

    def measure(requests: int) -> tuple[float, float]:
        topic = rig.backlog("even", EVEN, requests)
        rig.clean(dict.fromkeys(UNLIMITED, 1))
        run = rig.decide(topic, CLIENTS[0], requests)
        rig.audit()
        return run.rate, run.memory_mb

    return _grow(rig, "backlog", "requests waiting", rig.size.backlogs, measure)


def rows(rig: Rig) -> list[Figure]:
    """The log worker with more and more rows in the table."""

    def measure(count: int) -> tuple[float, float]:
        waiting = fill(rig)
        if count:
            with psycopg.connect(rig.server.pg_dsn, autocommit=True) as database:
                database.execute(ROWS, {"rows": count, "source": str(uuid4())})
                database.execute("VACUUM ANALYZE seckill_record")
                database.execute("CHECKPOINT")
        rate, _ = rig.store(waiting)
        with psycopg.connect(rig.server.pg_dsn, autocommit=True) as database:
            # The audit would report rows of a sale that Redis does not have.
            database.execute("DELETE FROM seckill_record WHERE activity_id = 9")
        rig.audit()
        return rate, 0.0

    return _grow(rig, "rows", "rows in the table", rig.size.rows, measure)


def buyers(rig: Rig) -> list[Figure]:
    """The script with a limit per user, with more and more users who have bought."""

    def measure(count: int) -> tuple[float, float]:
        rig.clean(UNLIMITED, user_limit=1_000)
        key = Lane().activity(1).buyers
        others = [str(10**9 + number) for number in range(count)]
        chunks = [others[low : low + CHUNK] for low in range(0, count, CHUNK)]
        for chunk in chunks:
            rig.client.hset(key, mapping=dict.fromkeys(chunk, 1))
        rate, _, _ = limits.script_alone(
            rig.server, rig.bodies(EVEN, rig.size.requests), str(uuid4())
        )
        # Removed, because the audit would see that they have bought nothing.
        for chunk in chunks:
            rig.client.hdel(key, *chunk)
        rig.audit()
        return rate, 0.0

    return _grow(rig, "buyers", "users have bought", rig.size.buyers, measure)


def items(rig: Rig) -> list[Figure]:
    """The script with more and more items on sale."""

    def measure(count: int) -> tuple[float, float]:
        numbers = list(range(1001, 1001 + count))
        rig.clean(dict.fromkeys(numbers, 10**9))
        bodies = rig.bodies({"items": numbers}, rig.size.requests)
        rate, _, _ = limits.script_alone(rig.server, bodies, str(uuid4()))
        rig.audit()
        return rate, 0.0

    return _grow(rig, "items", "items on sale", rig.size.items, measure)


def items_a_request(rig: Rig) -> list[Figure]:
    """The script with more and more items per request, measured in records per second."""

    def measure(count: int) -> tuple[float, float]:
        numbers = list(range(1001, 1051))
        rig.clean(dict.fromkeys(numbers, 10**9))
        profile: dict[str, Any] = {"items": numbers, "quantity": 1}
        if count > 1:
            profile["multi"] = {"share": 1, "items": [count, count]}
        bodies = rig.bodies(profile, max(rig.size.requests // count, 10_000))
        rate, _, _ = limits.script_alone(rig.server, bodies, str(uuid4()))
        rig.audit()
        return rate * count, 0.0

    return _grow(rig, "request", "items a request, in records", rig.size.items_a_request, measure)


def partitions(rig: Rig) -> list[Figure]:
    """A consumer on topics with more and more partitions."""

    def measure(count: int) -> tuple[float, float]:
        topic = rig.backlog("even", EVEN, rig.size.requests, count)
        rig.clean(UNLIMITED)
        run = rig.decide(topic, CLIENTS[0], rig.size.requests)
        rig.audit()
        return run.rate, run.memory_mb

    return _grow(rig, "partitions", "partitions", rig.size.partitions, measure)


def _grow(
    rig: Rig,
    axis: str,
    words: str,
    sizes: Sequence[int],
    measure: Callable[[int], tuple[float, float]],
) -> list[Figure]:
    """Measure all sizes in each repeat. Each rate is compared with the fresh one of its repeat."""
    rates: dict[int, list[float]] = defaultdict(list)
    memory: dict[int, list[float]] = defaultdict(list)
    for repeat in range(1, rig.size.repeats + 1):
        rig.say(f"growth, {axis}: repeat {repeat} of {rig.size.repeats}")
        for size in sizes:
            rate, megabytes = measure(size)
            rates[size].append(rate)
            memory[size].append(megabytes)
    fresh = rates[sizes[0]]
    figures = []
    for size in sizes:
        name = f"{size:,} {words}"
        figures.append(Figure(f"growth-{axis}", name, rates[size], "/s"))
        if size != sizes[0]:
            shares = [now / before for now, before in zip(rates[size], fresh, strict=True)]
            figures.append(Figure(f"growth-{axis}", f"{name}, of fresh", shares, "x", GOAL))
        if any(memory[size]):
            name = f"{name}, memory"
            figures.append(Figure(f"growth-{axis}", name, memory[size], "MB", 200, most=True))
    return figures
