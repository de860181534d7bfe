"""What was counted from the records, on its way into Redis: buyers, clicks, holds.

One count writes them to a key of its own, beside the hash of the sale. The script that needs them
then takes them in as a whole, and refuses those of any other count. So no batch of requests sees
half of them, and a late or repeated call cannot add to them.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby, islice

import redis

from seckill.lane.clicks import click_field, place_value
from seckill.lane.client import run_script
from seckill.lane.held import block_of, text_of
from seckill.lane.keys import ActivityKeys
from seckill.postgres import settled, sold

# Fields in one call. Each is two values, and Lua's unpack takes about 8,000 at most.
CHUNK = 2_000
# Blocks of holds in one call.
BLOCKS = 1_000
# The token that means: take nothing in.
NONE = ""


def stage(client: "redis.Redis", key: str, fields: Iterable[tuple[str | int, str | int]]) -> str:
    """Write the fields and their values to the key. Returns the token that names this count.

    If another count begins before the script runs, the script refuses this token. Raises RedisAway.
    """
    token = secrets.token_hex(8)
    if not run_script(client, "stage_hash", [key], [token, "1"]):
        return token
    rest = iter(fields)
    while pairs := [part for pair in islice(rest, CHUNK) for part in pair]:
        if not run_script(client, "stage_hash", [key], [token, "0", *pairs]):
            break
    return token


def stage_clicks(
    client: "redis.Redis", key: str, activity_id: int, positions: Mapping[str, int]
) -> str:
    """Stage the activity's clicks before the positions; returns the token.

    Call `sold.stage` first, in the same transaction. Raises RedisAway.
    """
    return stage(
        client,
        key,
        (
            (
                click_field(click.user_id, click.request_id),
                place_value(click.source, click.partition, click.offset),
            )
            for click in sold.clicks_of(activity_id, positions)
        ),
    )


def stage_holds(
    client: "redis.Redis", keys: ActivityKeys, activity_id: int, earliest_ms: int
) -> str:
    """Stage the holds that nobody has settled; returns the token. None is due before `earliest_ms`.

    Call `sold.stage` first, in the same transaction. Raises RedisAway.
    """
    token = secrets.token_hex(8)
    names = [keys.new_held, keys.new_due]
    if not run_script(client, "stage_holds", names, [token, "1"]):
        return token
    blocks = groupby(settled.holds_of(activity_id), key=lambda hold: block_of(hold.place))
    staged: Iterator[list[str | int | bytes]] = (
        [name, min(hold.due_ms for hold in holds), "".join(map(text_of, holds))]
        for name, found in blocks
        if (holds := [replace(hold, due_ms=max(hold.due_ms, earliest_ms)) for hold in found])
    )
    while values := [part for block in islice(staged, BLOCKS) for part in block]:
        if not run_script(client, "stage_holds", names, [token, "0", *values]):
            break
    return token
