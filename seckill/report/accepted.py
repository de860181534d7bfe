"""The accepted requests of a sale: those that are stored, and those that wait in Redis's list."""

from collections import defaultdict
from dataclasses import dataclass, field

import redis
from django.db import connection

from seckill.lane.keys import Lane
from seckill.lane.record_list import readable
from seckill.postgres.through_django import postgres_errors


@dataclass
class Accepted:
    """Accepted requests of the sale, stored or waiting."""

    # {item: first and last moment, s}
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    # {(source, partition): the first offset}
    firsts: dict[tuple[str, int], int] = field(default_factory=dict)
    # {(source, partition): the offsets that wait in the list}
    waiting: dict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    # Different users.
    users: int = 0

    def add(self, source: str, partition: int, offset: int, item: int, low: int, high: int) -> None:
        place = (source, partition)
        self.firsts[place] = min(offset, self.firsts.get(place, offset))
        before = self.spans.get(item, (low, high))
        self.spans[item] = (min(low, before[0]), max(high, before[1]))


def read_accepted(client: "redis.Redis", lane: Lane, activity_id: int, since_s: int) -> Accepted:
    """Read list and table. A record may be in both: that is fine, since nothing is summed up."""
    accepted = Accepted()
    users: set[int] = set()
    for record in readable(client, lane):
        if record.activity_id == activity_id and record.timestamp >= since_s:
            source, at = record.source, record.timestamp
            accepted.add(source, record.partition, record.offset, record.item_id, at, at)
            accepted.waiting[source, record.partition].add(record.offset)
            users.add(record.user_id)
    with postgres_errors(), connection.cursor() as cursor:
        cursor.execute(
            'SELECT source::text, partition, min("offset"), item_id,'
            " extract(epoch FROM min(ts))::bigint, extract(epoch FROM max(ts))::bigint"
            " FROM seckill_record WHERE activity_id = %s AND ts >= to_timestamp(%s)"
            " GROUP BY source, partition, item_id",
            [activity_id, since_s],
        )
        for row in cursor.fetchall():
            accepted.add(*row)
        stored = "FROM seckill_record WHERE activity_id = %s AND ts >= to_timestamp(%s)"
        cursor.execute(
            f"SELECT count(*) FROM (SELECT DISTINCT user_id {stored}) AS u", [activity_id, since_s]
        )
        accepted.users = cursor.fetchone()[0]
        if users:
            cursor.execute(
                f"SELECT count(DISTINCT user_id) {stored} AND user_id = ANY(%s)",
                [activity_id, since_s, list(users)],
            )
            accepted.users += len(users) - cursor.fetchone()[0]
    return accepted
