"""Who keeps a transaction open, as far as Kafka reports it. Each question needs its own right."""

from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

# Characters of another program's name that are shown.
NAME = 60


@dataclass(frozen=True)
class Open:
    """An open transaction. `by` is "" and `since_ms` None if Kafka does not report them."""

    by: str = ""
    since_ms: int | None = None


def find_open(admin: KafkaAdminClient, topic: str, partition: int) -> Open:
    """The oldest open transaction of a partition. What Kafka does not report is left out."""
    place = TopicPartition(topic, partition)
    found = Open()
    try:
        producers: Any = admin.describe_producers([place])[place].active_producers
        begun = [p for p in producers if p.current_transaction_start_offset >= 0]
        if not begun:
            return found
        oldest = min(begun, key=lambda p: p.current_transaction_start_offset)
        found = Open(f"producer id {oldest.producer_id}", oldest.last_timestamp)
        listed: Any = admin.list_transactions(producer_id_filters=[oldest.producer_id])
        for transaction in (one for several in listed.values() for one in several):
            name = transaction.transactional_id
            found = Open(quoted(name), found.since_ms)
            described: Any = admin.describe_transactions([name])
            return Open(found.by, described[name].transaction_start_time_ms)
    except (KafkaError, OSError):
        # No right to ask, or an old Kafka. The lag is known without these details.
        pass
    return found


def quoted(name: str) -> str:
    """A name from outside, in quotes, shortened, with control characters escaped."""
    return ascii(name if len(name) <= NAME else name[:NAME] + "...")
