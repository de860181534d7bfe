"""A child of `run_settler`: one consumer of the settle topic."""

from collections.abc import Mapping

import redis

from seckill.broker.topics import Topics
from seckill.config.sections import Settler
from seckill.consumer.child import Parts, run_child, traced
from seckill.consumer.consumer import Consumer
from seckill.formats.settle import request_topic
from seckill.lane.keys import Lane, position_field
from seckill.lane.settle_status import read_positions
from seckill.lane.status import LaneStatus
from seckill.settler.batch import encode
from seckill.settler.engine import SettleEngine
from seckill.telemetry.heartbeats import Kind


def settle(section: Settler, lane: Lane) -> None:
    """The main function of a child of run_settler: see `Settler.of_settlements`."""
    run_child(
        section, lane, Kind.SETTLER, lambda parts: build(section, lane, parts), of_settlements
    )


def build(section: Settler, lane: Lane, parts: Parts) -> Consumer:
    """A consumer of settlements."""

    def request_ends() -> Mapping[str, int]:
        """Where the request topic ends: {source:partition: offset}. Raises BrokerAway."""
        requests = request_topic(section.topic)
        with Topics(section) as topics:
            source = str(topics.source(requests))
            ends = topics.end_offsets(requests)
        return {position_field(source, partition): end for partition, end in ends.items()}

    engine = SettleEngine(section.redis_url, lane, parts.guard, request_ends)
    return Consumer(
        client=parts.client,
        engine=traced(engine, "run_settler", section),
        dead_letters=parts.dead_letters,
        shutdown=parts.shutdown,
        find_source=parts.find_source,
        batch_size=section.batch_size,
        pack=encode,
        look_at=lambda part: None,
        what="Settlements",
    )


def of_settlements(client: "redis.Redis", lane: Lane, status: LaneStatus) -> Mapping[str, int]:
    """The positions that the commits of the settlers' group are compared with: see `Guard`."""
    return read_positions(client, lane)
