"""The order of arrival in Kafka: a bounded read of the topic, outside of any consumer group."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from seckill.broker.reader import CannotRead, TopicReader
from seckill.config.sections import KafkaSection
from seckill.errors import BrokerAway


@dataclass(frozen=True)
class Arrival:
    """A message and when it arrived, in ms: by the broker's clock, or by its sender's."""

    partition: int
    offset: int
    at_ms: int
    value: bytes | None


Ranges = Mapping[int, tuple[int, int]]


def shares(ranges: Ranges, limit: int) -> dict[int, tuple[int, int]]:
    """{partition: (first, end)}, cut to `limit` messages in total, equally for each partition."""
    share = limit // max(1, len(ranges))
    return {p: (first, max(first, min(end, first + share))) for p, (first, end) in ranges.items()}


def read_arrivals(section: KafkaSection, ranges: Ranges) -> Iterator[Arrival]:
    """The messages of {partition: (first, end)}, in order per partition. Raises BrokerAway."""
    try:
        with TopicReader(section) as topic:
            for partition, (first, end) in ranges.items():
                for batch in topic.messages(partition, end, first):
                    for offset, value, at_ms, _ in batch:
                        yield Arrival(partition, offset, at_ms, value)
    except CannotRead as gone:
        raise BrokerAway(gone) from None
