"""Sending to Kafka behind one narrow interface. Owns what the project may ask of a producer.

Two clients implement it; `kafka_client` chooses one, and both pass the same tests. Both wait for
all replicas, are idempotent (a retry writes no record twice), and compress with lz4.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

# Seconds for the first contact. A caller that wants to wait longer opens again.
CONNECT_S = 5.0
# Milliseconds (24 days). A record does not expire: it waits until Kafka is back or the producer is
# closed. After a record expires, an idempotent producer of kafka-python 3.0 never sends again: it
# drops its producer id and requests no new one.
NEVER_MS = 2**31 - 1
REQUEST_TIMEOUT_MS = 15_000
# Seconds that `send` waits for room before it gives a record up.
ROOM_S = 120.0
# Bytes per place among the records in flight. A long record takes several places.
PLACE_BYTES = 4096
# The longest record in bytes: Kafka's own default.
MAX_RECORD_BYTES = 1024 * 1024
BATCH_BYTES = 64 * 1024
RECONNECT_BACKOFF_MAX_MS = 1_000
# Seconds between two checks while waiting for acknowledgements.
LOOK_S = 0.02
NO_ROOM = "too many records wait for an acknowledgement"
CLOSED = "given up when the producer was closed: Kafka may or may not have them"

Done = Callable[[str], None]


class Producer(Protocol):
    """Sends records to one topic. Not thread-safe. Each record ends as delivered or failed."""

    @property
    def delivered(self) -> int:
        """Records that Kafka has acknowledged."""

    @property
    def failed(self) -> int:
        """Records that were given up."""

    @property
    def last_error(self) -> str:
        """Why the last record was given up, or what is wrong with the connection; "" if nothing."""

    def send(
        self,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        done: Done | None = None,
        key: bytes | None = None,
        partition: int | None = None,
    ) -> None:
        """Queue a record; None is a tombstone. Waits while too many are in flight.

        Without a partition any is taken, for one key always the same. Records of one partition keep
        their order. Which one a key gets depends on the client.

        Does not raise for a record that cannot be sent: it counts as failed. The same holds for a
        record that finds no room within ROOM_S: then Kafka is away. To avoid waiting, check `room`.
        `done` is called with the result, on any thread: why the record failed, or "" if it did not.
        """

    def room(self, timeout_s: float = 0.0) -> int:
        """How many short records can be sent without waiting. Waits at most this long for room."""

    def flush(self, timeout_s: float) -> int:
        """Wait until all are acknowledged or given up. Returns how many still are neither.

        These are still in flight: flush again, do not send them again.
        """

    def close(self) -> None:
        """Give up what is not acknowledged and close the connections. Call `flush` first."""
