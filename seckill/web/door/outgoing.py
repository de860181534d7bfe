"""The way into a topic on the event loop: what is handed over is acknowledged, or not known to be.

Owns the answer to "does Kafka have it": NotTaken, Unknown, or its offset.
"""

import asyncio
import time

from seckill.broker.outbox import Done, Outbox

# Seconds that somebody waits for Kafka's acknowledgement. After that it is not known.
ACKNOWLEDGE_S = 2.0
# Seconds between two looks for acknowledgements while some are missing.
POLL_S = 0.001


class NotTaken(Exception):
    """Nothing was handed to Kafka. The message says why."""


class Unknown(Exception):
    """It was handed to Kafka, and no acknowledgement came: Kafka has it, or it does not."""


class Outgoing:
    """An outbox on one event loop."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._wake = asyncio.Event()
        # When Kafka was heard last, or the first record without a result was sent; None: none is
        # without a result.
        self._silent_since: float | None = None
        self._heard = False

    @property
    def partitions(self) -> int:
        """The topic's partitions."""
        return self._outbox.partitions

    def hand_over(self, value: bytes, partition: int, done: Done, key: bytes | None = None) -> None:
        """Hand a record to Kafka. `done` hears its offset, or -1 and why it is not known to be
        taken. Raises NotTaken.
        """
        now = time.monotonic()
        if self._silent_since is not None and now - self._silent_since > ACKNOWLEDGE_S:
            # Do not queue behind what Kafka does not take: tell at once.
            raise NotTaken("Kafka does not answer")

        def ended(offset: int, error: str) -> None:
            self._heard = True
            done(offset, error)

        if not self._outbox.send(value, partition, ended, key=key):
            raise NotTaken("too many requests wait for Kafka")
        if self._silent_since is None:
            self._silent_since = now
        self._wake.set()

    async def run(self) -> None:
        """Hand results to those who wait, until cancelled."""
        while True:
            self._outbox.poll()
            if self._heard:
                self._heard, self._silent_since = False, time.monotonic()
            if self._outbox.waiting:
                await asyncio.sleep(POLL_S)
                continue
            self._silent_since = None
            self._wake.clear()
            await self._wake.wait()
