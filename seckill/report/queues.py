"""Who queued for what, in the order of arrival: a bounded read of a lane's topic.

`fairness` judges what is read here.
"""

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from django.db import connection

from seckill.broker.topics import Topics
from seckill.config.sections import Server
from seckill.errors import Poison
from seckill.formats.request import decode
from seckill.lane.keys import position_field
from seckill.lane.status import ActivityStatus
from seckill.postgres.through_django import postgres_errors
from seckill.report.accepted import Accepted
from seckill.report.arrivals import Ranges, read_arrivals, shares
from seckill.report.fairness import Queue


@dataclass
class Queues:
    """{item: who queued for it}, from so many of so many messages."""

    by_item: dict[int, Queue] = field(default_factory=lambda: defaultdict(Queue))
    messages: int = 0
    messages_read: int = 0
    # Whether the topic still holds an accepted request.
    known: bool = False


def read_queues(
    queues: Queues,
    server: Server,
    activity: ActivityStatus,
    positions: Mapping[str, int],
    accepted: Accepted,
    sold_out: Set[int],
    limit: int,
) -> None:
    """Add those who queued for these items of an activity, from its first winner on.

    Raises BrokerAway.
    """
    with Topics(server) as topics:
        source = str(topics.source(server.topic))
        starts = topics.start_offsets(server.topic)
    ranges = _ranges(source, starts, positions, accepted)
    if not ranges:
        return
    queues.known = True
    queues.messages += sum(max(0, end - first) for first, end in ranges.values())
    ranges = shares(ranges, limit)
    won = {
        partition: accepted.waiting[source, partition]
        | _stored_offsets(activity.activity_id, source, partition, first, end)
        for partition, (first, end) in ranges.items()
        if (source, partition) in accepted.firsts
    }
    timeout = activity.timeout_ms or server.timeout
    for arrival in read_arrivals(server, ranges):
        queues.messages_read += 1
        try:
            request = decode(arrival.value)
        except Poison:
            # An INVALID message was in no queue.
            continue
        winner = arrival.offset in won.get(arrival.partition, ())
        too_late = timeout and arrival.at_ms - request.request_initiation_time > timeout
        if request.activity != activity.activity_id or (too_late and not winner):
            continue
        for item in request.items:
            if int(item) in sold_out:
                queue = queues.by_item[int(item)]
                (queue.winners if winner else queue.others).append(arrival.at_ms)


def _ranges(
    source: str, starts: Mapping[int, int], decided: Mapping[str, int], accepted: Accepted
) -> Ranges:
    """{partition: (first, end)} of what has to be read; {} if no accepted request is there."""
    positions = {
        partition: decided.get(position_field(source, partition), 0) for partition in starts
    }
    firsts = {p: first for (origin, p), first in accepted.firsts.items() if origin == source}
    firsts = {p: first for p, first in firsts.items() if p in positions}
    if not firsts:
        return {}
    # Before a partition's first winner nobody lost for lack of stock. The requests of a partition
    # without winners were in the queue too: as many are read as from the longest other one.
    longest = max(positions[partition] - first for partition, first in firsts.items())
    return {
        partition: (max(start, firsts.get(partition, positions[partition] - longest)), position)
        for partition, position in positions.items()
        for start in (starts[partition],)
    }


def _stored_offsets(
    activity_id: int, source: str, partition: int, first: int, end: int
) -> set[int]:
    with postgres_errors(), connection.cursor() as cursor:
        cursor.execute(
            'SELECT DISTINCT "offset" FROM seckill_record WHERE source = %s AND partition = %s'
            ' AND "offset" >= %s AND "offset" < %s AND activity_id = %s',
            [source, partition, first, end, activity_id],
        )
        return {offset for (offset,) in cursor.fetchall()}
