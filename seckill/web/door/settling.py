"""The way into the settle topic: what becomes of holds, acknowledged by Kafka.

`run_settler` makes the topic. A door that starts before it looks again until it is there.
"""

import asyncio
import zlib

from seckill.broker.outbox import Outbox
from seckill.formats.settle import Settlement, encode, key_of
from seckill.web.door.outgoing import ACKNOWLEDGE_S, NotTaken, Outgoing, Unknown


class Settling:
    """Sends settlements. Everything but `flush` and `close` runs on one event loop."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._outbox: Outbox | None = None
        self._outgoing: Outgoing | None = None

    @property
    def is_open(self) -> bool:
        """Whether the topic was found."""
        return self._outbox is not None

    def open(self, outbox: Outbox) -> None:
        """Use this outbox from now on, and close it at the end."""
        self._outbox, self._outgoing = outbox, Outgoing(outbox)

    async def settle(self, settlement: Settlement) -> None:
        """Hand it to Kafka, and await the acknowledgement. Raises NotTaken, Unknown."""
        if self._outgoing is None:
            raise NotTaken(f"there is no topic {self.topic}; manage.py run_settler makes it")
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def done(_offset: int, error: str) -> None:
            if not future.done():
                future.set_result(error)

        key = key_of(settlement.user_id)
        partition = zlib.crc32(key) % self._outgoing.partitions
        self._outgoing.hand_over(encode(settlement), partition, done, key)
        try:
            async with asyncio.timeout(ACKNOWLEDGE_S):
                error = await future
        except TimeoutError:
            raise Unknown("Kafka has not acknowledged it in time") from None
        if error:
            raise Unknown(error)

    async def run(self) -> None:
        """Hand results to those who wait, until cancelled. The topic must be open."""
        assert self._outgoing is not None
        await self._outgoing.run()

    def flush(self, timeout_s: float) -> int:
        """Wait until all have a result; returns how many have none."""
        return 0 if self._outbox is None else self._outbox.flush(timeout_s)

    def close(self) -> None:
        """Give up what has no result, and close the connections."""
        if self._outbox is not None:
            self._outbox.close()
