"""Building blocks of the core's tests: requests, batches, a sale on Redis alone, all of Redis.

Nothing here stands in for a service: it only says shortly what tests say often.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from django.db import connection, transaction

from seckill.consumer.batch import Batch, encode
from seckill.control import staging
from seckill.dead_letters import records as dead_records
from seckill.dead_letters.records import Dead, Kind
from seckill.lane import scripts
from seckill.lane.client import run_script
from seckill.lane.keys import CONTROL_CHANNEL, MARK, Lane, rate_bucket

SOURCE = "0f9a2c51-6f0e-4b8e-9d0c-3a54f1f2a111"


def now_ms() -> int:
    """Now, as buyers say it."""
    return time.time_ns() // 1_000_000


def body(
    user: int = 1, items: Mapping[int, int] | None = None, at: int | None = None, **more: Any
) -> bytes:
    """A request's bytes: one unit of item 1001, of now, unless told otherwise."""
    wanted = {1001: 1} if items is None else items
    request = {
        "user_id": user,
        "items": {str(item): units for item, units in wanted.items()},
        "request_initiation_time": now_ms() if at is None else at,
        **more,
    }
    return json.dumps(request).encode()


def record(user: int, *, offset: int, **more: Any) -> bytes:
    """A record's bytes: one unit of item 1001, as the script pushes it."""
    members = {
        "user_id": user,
        "activity_id": 1,
        "item_id": 1001,
        "quantity": 1,
        "cost_ms": 5,
        "status": "success",
        "timestamp": now_ms() // 1000,
        "source": SOURCE,
        "partition": 0,
        "offset": offset,
        "version": 1,
        **more,
    }
    return json.dumps(members).encode()


def batch(
    values: Sequence[bytes | None], start: int = 0, *, partition: int = 0, source: str = SOURCE
) -> Batch:
    """One batch of messages without gaps, the first one at offset `start`."""
    offsets = range(start, start + len(values))
    return encode(source, partition, start, offsets, values)


def put_on_sale(
    client: "redis.Redis",
    stock: Mapping[int, int],
    activity: int = 1,
    lane: Lane | None = None,
    **state: int,
) -> None:
    """Load an activity as `Control.set_stock` does, without PostgreSQL; `state` as in its hash."""
    lane = lane or Lane()
    keys = lane.activity(activity)
    if not client.sismember(lane.activities, str(activity)):
        pairs = [part for pair in state.items() for part in pair]
        token = staging.stage(client, keys.new_buyers, []) if "user_limit" in state else ""
        clicks = staging.stage(client, keys.new_clicks, [])
        run_script(
            client,
            "load_state",
            [
                *(keys.state, keys.stats, keys.buyers, lane.stats, lane.activities),
                *(keys.new_buyers, lane.state, keys.clicks, keys.new_clicks),
            ],
            [0, 0, 0, 0, activity, token, clicks, *pairs],
        )
    run_script(
        client,
        "set_stock",
        [lane.activities, lane.state, keys.state, keys.stock, keys.loaded, keys.stats],
        [
            *(activity, CONTROL_CHANNEL, "test", "", 0),
            *(part for pair in stock.items() for part in pair),
        ],
    )


def waiting(client: "redis.Redis", lane: Lane | None = None) -> list[dict[str, Any]]:
    """The records of the list as JSON has them, the oldest first."""
    found: list[bytes] = client.lrange((lane or Lane()).list, 0, -1)  # type: ignore[assignment]
    return [json.loads(record) for record in reversed(found)]


def stock(client: "redis.Redis", activity: int = 1, lane: Lane | None = None) -> dict[int, int]:
    """{item: units left}, as Redis has it."""
    left: dict[bytes, bytes] = client.hgetall((lane or Lane()).activity(activity).stock)  # type: ignore[assignment]
    return {int(item): int(units) for item, units in left.items()}


def keep_dead(raw: bytes, reason: str = "refused", kind: Kind = Kind.REFUSED) -> None:
    """What a log worker does with an entry of the list that cannot become a row."""
    with transaction.atomic(), connection.cursor() as cursor:
        dead_records.keep(cursor, [Dead(kind, raw, reason, f"test:{uuid.uuid4()}")])


def buyers_of(client: "redis.Redis", activity: int = 1) -> dict[int, int]:
    """{user: units}, as Redis counts them for a limit."""
    found: dict[bytes, bytes] = client.hgetall(Lane().activity(activity).buyers)  # type: ignore[assignment]
    return {int(user): int(units) for user, units in found.items() if user != MARK}


def holds_no_sale(client: "redis.Redis") -> bool:
    """Whether Redis is empty, but for which lane it is."""
    return set(everything(client)) <= {Lane().state.encode()}


def everything(client: "redis.Redis") -> dict[bytes, Any]:
    """All of Redis: each key with its content, for a comparison of before and after.

    But for the rate limit's buckets, which go by themselves.
    """
    found: dict[bytes, Any] = {}
    for key in client.scan_iter():
        if key.startswith(rate_bucket("").encode()):
            continue
        kind = client.type(key)
        if kind == b"hash":
            found[key] = client.hgetall(key)
        elif kind == b"list":
            found[key] = client.lrange(key, 0, -1)
        elif kind == b"set":
            found[key] = client.smembers(key)
        else:
            found[key] = client.dump(key)
    return found


def new_source() -> str:
    """The identity of a topic that nobody else has."""
    return str(uuid.uuid4())


def load_scripts(client: "redis.Redis") -> None:
    """Have Redis know all scripts, for tests that spoil the one command that runs one."""
    for name in scripts.names():
        client.script_load(scripts.load(name).text)


def only_reads(command: tuple[Any, ...]) -> bool:
    """Whether a call of a script changes nothing."""
    return scripts.load("read_together").sha in command
