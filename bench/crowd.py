"""A crowd of connections that costs little: it measures a server on the same machine.

Owns a bare HTTP/1.1 client for requests that were made before: a client library takes more CPU a
request than the door does. `run_loadgen --http` is the one for people.
"""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvloop

from devstack.endpoints import HOST, DevstackError

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# Seconds between two looks at the schedule, and without any answer until a run counts as stuck.
TICK_S, STUCK_S = 0.001, 60.0
# Connections that are opened at once.
OPENING = 500


class Line(asyncio.Protocol):
    """A connection; one question at a time. `told` is called with its number, status and body."""

    transport: asyncio.Transport

    def __init__(self, told: Callable[["Line", int, int, bytes], None]) -> None:
        self._told = told
        self._read = b""
        # Which request is on its way.
        self.number = -1

    def connection_made(self, transport: Any) -> None:
        """See asyncio."""
        self.transport = transport

    def ask(self, number: int, request: bytes) -> None:
        """Send a request."""
        self.number = number
        self.transport.write(request)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio. Status 0: the server has closed it."""
        if self.number >= 0:
            self._told(self, self.number, 0, b"")

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._read += data
        head = self._read.find(b"\r\n\r\n")
        if head < 0:
            return
        length = LENGTH.search(self._read, 0, head)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(self._read) < end:
            return
        status, body = int(self._read[9:12]), self._read[head + 4 : end]
        self._read = self._read[end:]
        self.number, number = -1, self.number
        self._told(self, number, status, body)


@dataclass
class Crowd:
    """Requests and their answers, by number. `due`: seconds at which each is sent; None: each
    connection sends the next one once it has an answer. `again`: whether an answer does not count
    and the question is asked again.
    """

    requests: Sequence[bytes]
    connections: int
    due: Sequence[float] | None = None
    again: Callable[[bytes], bool] = field(default=lambda _: False)

    bodies: list[bytes] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    # Seconds from the intended time, or from the send without one; and when each was answered.
    took_s: list[float] = field(default_factory=list)
    told_at: list[float] = field(default_factory=list)
    seconds: float = 0.0

    _sent: int = 0
    _left: int = 0
    _lost: int | None = None
    _lines: list[Line] = field(default_factory=list)
    # The one that is silent longest comes first: a server closes connections that stay silent.
    _free: deque[Line] = field(default_factory=deque)
    _began: float = 0.0

    def run(self, port: int) -> "Crowd":
        """Ask everything. Raises DevstackError if nothing is answered for STUCK_S."""
        uvloop.run(self.play(port))
        return self

    async def play(self, port: int, all_sent: Callable[[], None] = lambda: None) -> None:
        """The same on a running loop. `all_sent` is called once all have been sent."""
        total = len(self.requests)
        self._left = total
        self.bodies, self.took_s, self.told_at = [b""] * total, [0.0] * total, [0.0] * total
        try:
            await self._open(port)
            await self._play(all_sent)
        finally:
            for line in self._lines:
                line.transport.close()

    async def _open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._began = time.perf_counter()
        for first in range(0, self.connections, OPENING):
            opened = await asyncio.gather(
                *(
                    loop.create_connection(lambda: Line(self._answered), HOST, port)
                    for _ in range(first, min(first + OPENING, self.connections))
                )
            )
            self._lines += [line for _, line in opened]
            self._free += [line for _, line in opened]
            if self.due is None:
                # Not after all of them are open: the first would have been silent too long.
                self._send()
        if self.due is not None:
            self._began = time.perf_counter()

    async def _play(self, all_sent: Callable[[], None]) -> None:
        total, told = len(self.requests), False
        seen, seen_at = total, time.perf_counter()
        while self._left:
            if self._lost is not None:
                raise DevstackError(f"the server closed the line of request {self._lost:,}")
            self._send()
            if self._sent == total and not told:
                told = True
                all_sent()
            await asyncio.sleep(TICK_S)
            now = time.perf_counter()
            if self._left < seen:
                seen, seen_at = self._left, now
            elif now - seen_at > STUCK_S:
                raise DevstackError(f"{self._left:,} of {total:,} requests have no answer")

    def percentile_ms(self, share: float) -> float:
        """Of the time to the answer."""
        return sorted(self.took_s)[min(int(len(self.took_s) * share), len(self.took_s) - 1)] * 1000

    def _send(self) -> None:
        now = time.perf_counter() - self._began
        while self._free and self._sent < len(self.requests):
            number = self._sent
            if self.due is None:
                self.took_s[number] = now
            elif self.due[number] > now:
                return
            else:
                self.took_s[number] = self.due[number]
            self._sent += 1
            self._free.popleft().ask(number, self.requests[number])

    def _answered(self, line: Line, number: int, status: int, body: bytes) -> None:
        now = time.perf_counter()
        self.statuses[status] += 1
        if not status:
            self._lost = number
            return
        if self.again(body):
            line.ask(number, self.requests[number])
            return
        self.bodies[number] = body
        self.told_at[number] = now
        self.took_s[number] = now - self._began - self.took_s[number]
        self.seconds = now - self._began
        self._left -= 1
        self._free.append(line)
        self._send()
