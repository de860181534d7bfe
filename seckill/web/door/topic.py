"""Whether the topic is still the one that this door opened.

Kafka's clients go on silently in a topic that was made again: an acknowledgement names an offset,
and not the topic that has it. But an id never comes back. So if Kafka names our topic's id to a
question that was put after an acknowledgement, the acknowledgement was our topic's.
"""

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from seckill.broker.source import Source
from seckill.errors import BrokerAway
from seckill.process.events import event

log = logging.getLogger(__name__)

# Seconds between two looks while nobody needs one, and at least between two that somebody needs:
# each costs 0.3 ms of CPU.
IDLE_S, EACH_S = 5.0, 0.01


class Topic:
    """Questions to Kafka about one topic, on a thread of their own."""

    def __init__(self, reader: Source, name: str, source: str) -> None:
        """`source` is the topic's id as this door opened it."""
        self._reader, self._name, self.source = reader, name, source
        self._thread = ThreadPoolExecutor(1, "door-topic")
        self._asked_at = 0.0
        self._another = asyncio.Event()

    async def pause(self) -> None:
        """Wait until it is time for the next question, if there was one a moment ago."""
        pause_s = self._asked_at + EACH_S - time.monotonic()
        if pause_s > 0:
            await asyncio.sleep(pause_s)

    async def doubt(self) -> str:
        """Why what was acknowledged before this call may be another topic's; "" if it is ours."""
        self._asked_at = time.monotonic()
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._reader.source, self._name
            )
        except BrokerAway as away:
            log.debug("the topic's id: %s", away, extra=event("door-topic"))
            return "Kafka does not say which topic has it"
        if found == self.source:
            return ""
        if found is not None:
            self._another.set()
        return "the topic was made again"

    async def until_another(self) -> None:
        """Return when the topic is known to be another one."""
        while not self._another.is_set():
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._another.wait()
            except TimeoutError:
                await self.doubt()

    def close(self) -> None:
        """End the thread. The reader is its owner's to close."""
        self._thread.shutdown()
