"""Sends single requests for people who wait: each is acknowledged with its partition's offset.

Unlike `producer.Producer` it never waits, its memory is bounded, and a record that Kafka has not
taken for EXPIRE_S is given up, so that no order appears long after its buyer has left. Two clients
implement it, and both pass the same test.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

# Seconds after which a record that Kafka has not taken is given up.
EXPIRE_S = 10.0
# Records, and bytes, that may wait for an acknowledgement.
MAX_RECORDS = 20_000
MAX_BYTES = 32 * 1024 * 1024
# Milliseconds that a record waits for others to share its batch.
LINGER_MS = 5
CLIENT_ID = "seckill-door"

# Called with the offset and ""; or with -1 and the reason why it is not known to be taken.
Done = Callable[[int, str], None]


class Outbox(Protocol):
    """Sends records to the partitions of one topic. Not thread-safe."""

    @property
    def partitions(self) -> int:
        """The number of the topic's partitions."""

    @property
    def waiting(self) -> int:
        """Records that have no result yet."""

    def send(
        self,
        value: bytes,
        partition: int,
        done: Done,
        headers: Sequence[tuple[str, bytes]] = (),
        key: bytes | None = None,
    ) -> bool:
        """Queue a record; False if there is no room: then it is not sent and `done` not called."""

    def poll(self) -> None:
        """Call `done` of the records that have a result by now. Does not wait."""

    def flush(self, timeout_s: float) -> int:
        """Wait until all have a result; returns how many have none."""

    def close(self) -> None:
        """Give up what has no result, and close the connections."""
