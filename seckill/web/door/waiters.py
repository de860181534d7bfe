"""Who waits at a door: for a decision, or for the end of a hold. Owns who is to be read next."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from seckill.web.door.answers import Answer
from seckill.web.door.tickets import Ticket

# Seconds between two reads of holds whose end somebody waits for.
HELD_S = 0.2


@dataclass(eq=False, slots=True)
class Ask:
    """Somebody who asks for the answer to a ticket."""

    ticket: Ticket
    future: "asyncio.Future[Answer]"
    # Whether it waits until its hold is settled.
    settled: bool = False
    # What a hold was when it was read last.
    last: Answer | None = None

    def is_decided(self, positions: Mapping[int, int]) -> bool:
        """Whether it has an answer. `positions` by partition."""
        return self.ticket.offset < positions.get(self.ticket.partition, 0)


class Waiters:
    """All who wait. Those who have gone are left out when their turn comes."""

    def __init__(self) -> None:
        self._order = count()
        # For a decision, by partition, the lowest offset first.
        self._undecided: dict[int, list[tuple[int, int, Ask]]] = defaultdict(list)
        # For the end of a hold, and when these were read last.
        self._held: list[Ask] = []
        self._held_at = 0.0

    @property
    def any_undecided(self) -> bool:
        """Whether somebody waits for a decision."""
        return any(self._undecided.values())

    def add(self, ask: Ask) -> None:
        """It waits for its decision."""
        entry = (ask.ticket.offset, next(self._order), ask)
        heappush(self._undecided[ask.ticket.partition], entry)

    def add_held(self, ask: Ask) -> None:
        """It waits for the end of its hold."""
        self._held.append(ask)

    def pop_decided(self, positions: Mapping[int, int]) -> list[Ask]:
        """Those whose requests are decided now. They wait no more."""
        ready = []
        for partition, asks in self._undecided.items():
            position = positions.get(partition, 0)
            while asks and asks[0][0] < position:
                ask = heappop(asks)[2]
                if not ask.future.done():
                    ready.append(ask)
        return ready

    def due_held(self) -> list[Ask]:
        """Those who wait for the end of a hold, if it is time to read their holds again."""
        now = time.monotonic()
        if now - self._held_at < HELD_S:
            return []
        self._held_at = now
        self._held = [ask for ask in self._held if not ask.future.done()]
        return self._held

    def pop_all(self) -> Iterator[Ask]:
        """Everybody. Nobody waits after that."""
        undecided, held = self._undecided, self._held
        self._undecided, self._held = defaultdict(list), []
        for asks in undecided.values():
            yield from (ask for _offset, _order, ask in asks)
        yield from held
