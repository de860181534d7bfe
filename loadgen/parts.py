"""Sends the requests of split sales to the part that serves each user, in its lane's topic.

Owns the way from a body to its topic. Which part serves whom is `seckill.formats.parts`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seckill.broker.opening import open_producer
from seckill.broker.producer import Done, Producer
from seckill.config.layers import lane_addresses
from seckill.config.layers import load as load_section
from seckill.config.sections import Client, Server
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.formats.parts import Part, part_of_user
from seckill.postgres.access import connect, postgres_errors
from seckill.postgres.parts import read_routes
from seckill.telemetry.tracing import traced_producer

USER = re.compile(rb'^\{"user_id":(\d+),')
ACTIVITY = re.compile(rb',"activity_id":(\d+)')
# Seconds for PostgreSQL, which is asked once.
CONNECT_S, ANSWER_S = 5, 10.0


@dataclass(frozen=True)
class Targets:
    """The split sales of a load: {activity: its parts}, and the topic of each lane."""

    parts: Mapping[int, tuple[Part, ...]]
    topics: Mapping[str, str]
    lane: str

    def of(self, body: bytes | None) -> tuple[str, bytes | None]:
        """The lane of a body, and the body as it is sent there. What is no request stays."""
        user = USER.match(body) if body else None
        if body is None or user is None:
            return self.lane, body
        named = ACTIVITY.search(body)
        parts = self.parts.get(int(named[1]) if named else DEFAULT_ACTIVITY)
        if parts is None:
            return self.lane, body
        part = parts[part_of_user(int(user[1]), len(parts))]
        number = b',"activity_id":%d' % part.activity_id
        if named:
            return part.lane, body[: named.start()] + number + body[named.end() :]
        return part.lane, body[:-1] + number + b"}"


def read_targets(activities: Sequence[int], lane: str) -> Targets | None:
    """Where the split sales among these activities are served; None if there are none.

    Raises PostgresAway, ConfigError.
    """
    server = load_section(Server, lane=lane)
    with postgres_errors(), connect(server.pg_dsn, CONNECT_S, ANSWER_S) as postgres:
        routes = read_routes(postgres.cursor())
    found = {number: routes.parts_of(number) for number in activities}
    split = {number: parts for number, parts in found.items() if len(parts) > 1}
    if not split:
        return None
    topics = {name: load_section(Server, lane=name).topic for name in lane_addresses("")}
    return Targets(split, topics, lane)


def open_targets(client: Client, targets: Targets | None) -> Producer:
    """A producer for the topic of `client`, or for those of the parts. Raises BrokerAway."""
    if targets is None:
        return traced_producer(open_producer(client, client.topic), client)
    lanes = {targets.lane, *(part.lane for parts in targets.parts.values() for part in parts)}
    opened: dict[str, Producer] = {}
    try:
        for lane in sorted(lanes):
            topic = client.topic if lane == targets.lane else targets.topics[lane]
            opened[lane] = traced_producer(open_producer(client, topic), client)
    except BaseException:
        for producer in opened.values():
            producer.close()
        raise
    return PartsProducer(opened, targets)


class PartsProducer:
    """A Producer over one of each lane. Its counts are their sums."""

    def __init__(self, lanes: Mapping[str, Producer], targets: Targets) -> None:
        self._lanes, self._targets = lanes, targets

    @property
    def delivered(self) -> int:
        """See Producer."""
        return sum(each.delivered for each in self._lanes.values())

    @property
    def failed(self) -> int:
        """See Producer."""
        return sum(each.failed for each in self._lanes.values())

    @property
    def last_error(self) -> str:
        """See Producer."""
        return next((each.last_error for each in self._lanes.values() if each.last_error), "")

    def send(
        self,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        done: Done | None = None,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> None:
        """See Producer."""
        lane, body = self._targets.of(value)
        self._lanes[lane].send(body, headers, done, key, partition)

    def room(self, timeout_s: float = 0.0) -> int:
        """See Producer. The least of all, since nobody knows whose the next one is."""
        return min(each.room(timeout_s) for each in self._lanes.values())

    def flush(self, timeout_s: float) -> int:
        """See Producer."""
        return sum(each.flush(timeout_s) for each in self._lanes.values())

    def close(self) -> None:
        """See Producer."""
        for each in self._lanes.values():
            each.close()
