"""Limits connections to the web process, so that slow or unfinished requests lock nobody out.

- A request must be complete REQUEST_S after its connection or its first byte. A client must read
  some of its answer within the same time.
- An address has a limited number of connections, unless it is a proxy that serves everybody.
- At the total limit a new connection replaces the one that has kept us waiting longest. A
  connection that is being served or is reading its answer is never closed for another.
waitress alone waits 120 s after the last byte, and at the total accepts nobody.
"""

import logging
import socket
import time
from collections.abc import Sequence
from typing import Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from seckill.config.addresses import Network
from seckill.process.events import event
from seckill.web.callers import Callers

log = logging.getLogger(__name__)

# Seconds in which a request must be complete, and in which a client must read some of an answer.
REQUEST_S = 15
# If a client reads nothing for so many seconds, its connection may be closed to make room.
STUCK_S = 1.0
# Seconds that a connection stays open between two requests. Longer than proxies keep theirs
# (nginx: 60), so that a proxy never sends into a connection that was just closed.
IDLE_S = 75
# Seconds between two checks for connections over their time.
LOOK_S = 1
# Seconds between two log lines about connections that were refused or closed.
TELL_AGAIN_S = 10.0

_TEXT = b"too many connections from this address\n"
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Retry-After: %d\r\nContent-Length: %d\r\n\r\n%b"
) % (REQUEST_S, len(_TEXT), _TEXT)


class Channel(HTTPChannel):
    """A connection, its caller, and since when we have waited for its complete request."""

    caller: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waits_since: float | None = self.creation_time

    def received(self, data: bytes) -> bool:
        """See waitress: data has arrived."""
        if self.waits_since is None:
            self.waits_since = self.last_activity
        taken: bool = super().received(data)
        if self.request is None:
            self.waits_since = None
        return taken

    @property
    def waits(self) -> bool:
        """Whether we wait for the client."""
        return not (self.requests or self.total_outbufs_len)

    def is_stuck(self, now: float, seconds: float) -> bool:
        """Whether its answer is ready but the client has read nothing for so long."""
        return not (self.requests or self.waits) and now - self.last_activity > seconds

    def is_over(self, now: float) -> bool:
        """Whether its time is up."""
        if not self.waits:
            return self.is_stuck(now, REQUEST_S)
        if self.waits_since is not None:
            return now - self.waits_since > REQUEST_S
        return bool(now - self.last_activity > IDLE_S)


class Server(TcpWSGIServer):
    """waitress on a bound socket, with the rules above."""

    def __init__(
        self,
        application: Any,
        bound: socket.socket,
        sockets: dict[int, Any],
        *,
        threads: int,
        per_address: int,
        proxies: Sequence[Network],
        **adjustments: Any,
    ) -> None:
        self.per_address, self.callers = per_address, Callers(proxies)
        self._refused = self._closed = 0
        self._told_at = -TELL_AGAIN_S
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(threads)
        super().__init__(
            application,
            sockets,
            True,
            bound,
            dispatcher=dispatcher,
            adj=Adjustments(cleanup_interval=LOOK_S, threads=threads, **adjustments),
            sockinfo=(bound.family, bound.type, bound.proto, bound.getsockname()),
            bind_socket=False,
        )

    def channel_class(
        self, server: Any, conn: socket.socket, addr: Any, *args: Any, **kw: Any
    ) -> None:
        """Accept or refuse a new connection."""
        caller = self._caller(str(addr[0]))
        if caller is not None and self._held_by(caller) >= self.per_address:
            self._refused += 1
            self._tell(f"the last one was {addr[0]}, which holds {self.per_address}")
            conn.setblocking(False)
            try:
                conn.send(REFUSAL)
            except OSError as gone:
                log.debug("%s: %s", addr[0], gone, extra=event("connections-refused"))
            conn.close()
            return
        channel = Channel(server, conn, addr, *args, **kw)
        channel.caller = caller
        self._make_room(channel)

    def maintenance(self, now: float) -> None:
        """See waitress: close connections whose time is up."""
        for channel in list(self.active_channels.values()):
            if channel.is_over(now):
                # Closed at once: waitress would wait until it can write.
                channel.handle_close()
        # waitress accepts nobody at the total limit. If all connections were busy when it was
        # reached, one may have become idle since.
        self._make_room()

    def _caller(self, host: str) -> str | None:
        """The caller of a connection; None if it is not counted."""
        return (self.callers.caller(host) or None) if self.per_address else None

    def _held_by(self, caller: str) -> int:
        return sum(channel.caller == caller for channel in self.active_channels.values())

    def _make_room(self, new: Channel | None = None) -> None:
        if len(self._map) < self.adj.connection_limit:
            return
        now = time.time()
        others = [channel for channel in self.active_channels.values() if channel is not new]
        waiting = [channel for channel in others if channel.waits]
        waiting = waiting or [channel for channel in others if channel.is_stuck(now, STUCK_S)]
        if not waiting:
            return
        # Connections with an incomplete request go before those that are only idle.
        longest = min(
            waiting, key=lambda c: (c.waits_since is None, c.waits_since or c.last_activity)
        )
        self._closed += 1
        self._tell(f"the last one was {longest.addr[0]}'s")
        longest.handle_close()

    def _tell(self, last: str) -> None:
        now = time.monotonic()
        if now - self._told_at < TELL_AGAIN_S:
            return
        log.warning(
            "connections: %d refused, because their address has too many; %d closed to make room "
            "at the total of %d; %s. Others are served. See docs/operations.md, the web process",
            *(self._refused, self._closed, self.adj.connection_limit, last),
            extra=event("connections-refused", refused=self._refused, closed=self._closed),
        )
        self._refused = self._closed = 0
        self._told_at = now
