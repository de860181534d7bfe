"""What a season has in the Redis of a lane: whether anything of it goes on, and its end there."""

from collections.abc import Iterable, Sequence

import redis

from seckill.errors import Fenced, Refused
from seckill.formats.outcomes import Outcome
from seckill.lane import board
from seckill.lane.client import redis_errors, run_script
from seckill.lane.keys import Lane
from seckill.lane.phase import Phase
from seckill.lane.record_list import readable
from seckill.lane.status import read_lane

# Keys that are removed by one call.
AT_ONCE = 500
OUTCOMES = tuple(
    str(int(o)) for o in Outcome if o not in (Outcome.INVALID, Outcome.NO_SUCH_ACTIVITY)
)


def refuse_if_alive(
    client: "redis.Redis", lane: Lane, sources: Iterable[str], activities: Sequence[int]
) -> None:
    """Raises Refused if a lane still sells or stores something of a season, RedisAway."""
    status = read_lane(client, lane)
    if status.fence is not None:
        raise Fenced(f"lane {lane.name} is fenced: {status.fence.word}: {status.fence.why}")
    for number in activities:
        activity = status.activities.get(number)
        if activity is None:
            continue
        if activity.over != Phase.FINISHED:
            raise Refused(f"activity {number} is not finished; manage.py finish ends it")
        if activity.holds.held:
            raise Refused(
                f"activity {number} has {activity.holds.held:,} holds that nobody has settled"
            )
    if status.activities and not set(status.activities) - set(activities):
        raise Refused(
            f"lane {lane.name} has no other activity loaded, and an empty Redis looks like a loss: "
            "put the next sale on first"
        )
    known, ours = set(sources), set(activities)
    for record in readable(client, lane):
        if record.source in known or record.activity_id in ours:
            raise Refused(
                f"records of it wait in lane {lane.name}; manage.py run_log_worker --drain stores "
                "them"
            )


def forget_what_is_stored(client: "redis.Redis", lane: Lane, sources: Iterable[str]) -> None:
    """Before its rows go: a log worker would take them for lost. Raises RedisAway."""
    known = set(sources)
    with redis_errors():
        fields = [
            field
            for field in client.hgetall(lane.stored)
            if _text(field).rpartition(":")[0] in known
        ]
        if fields:
            client.hdel(lane.stored, *fields)


def end(
    client: "redis.Redis", lane: Lane, sources: Iterable[str], activities: Sequence[int]
) -> int:
    """After its rows are gone: its activities and its board go too. Returns how many activities.

    Positions stay, so that none of its messages is ever decided again. Safe to repeat. Raises
    Refused, RedisAway.
    """
    keys = [lane.activities, lane.stats, lane.state]
    for number in activities:
        names = lane.activity(number)
        keys += [names.state, names.stock, names.loaded, names.stats, names.buyers]
        keys += [names.new_buyers, names.clicks, names.new_clicks, names.held, names.due]
    code, *why = run_script(client, "archive", keys, [len(OUTCOMES), *OUTCOMES, *activities])
    if code < 0:
        told = {
            -1: "the lane is fenced: {}",
            -2: "activity {} is not finished, or has holds",
            -3: "no other activity is loaded",
        }[code]
        raise Refused(
            f"archived in PostgreSQL, and not yet taken out of lane {lane.name}: "
            + told.format(*(_text(each) for each in why))
            + ". When that is mended, run this again"
        )
    known = set(sources)
    with redis_errors():
        for place, after in board.ends(client, lane).items():
            source, _, partition = place.rpartition(":")
            if source not in known:
                continue
            parts = range(board.strings(after))
            names_of = [lane.board(source, int(partition), number) for number in parts]
            for first in range(0, len(names_of), AT_ONCE):
                client.unlink(*names_of[first : first + AT_ONCE])
    return int(code)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
