"""Who may be connected to the web process: requests that never come whole lock nobody out.

- A whole request has to be there REQUEST_S after its first byte, or after its connection; of an
  answer, some bytes are taken within that time.
- An address holds so many connections at most, unless it is a proxy's, through which all come.
- Where the total is reached, a new connection takes the place of the one that keeps us waiting
  longest. One that is served, or takes its answer, is never closed for another.
waitress alone waits 120 s from the last byte on, and at the total takes nobody any more.
"""

import ipaddress
import logging
import socket
import time
from collections.abc import Sequence
from typing import Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from seckill.events import event
from seckill_project.addresses import Network

log = logging.getLogger(__name__)

# Seconds for a request to be whole, and for a piece of an answer to be taken.
REQUEST_S = 15
# Seconds without taking anything, after which an answer may make room for somebody else.
STUCK_S = 1.0
# Seconds that a connection is kept open between two requests. Longer than proxies keep theirs
# (nginx: 60), so that they never send into one that is just closed.
IDLE_S = 75
# Seconds between two looks at what is over its time.
LOOK_S = 1
# Seconds between two lines of the log about connections that were refused or closed.
TELL_AGAIN_S = 10.0
# Bits of an IPv6 address that tell callers apart: the rest belongs to one of them.
IPV6_CALLER = 64

_TEXT = b"too many connections of this address\n"
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Retry-After: %d\r\nContent-Length: %d\r\n\r\n%b"
) % (REQUEST_S, len(_TEXT), _TEXT)


class Channel(HTTPChannel):
    """A connection, whose it is, and since when we wait for a whole request of it."""

    caller: Network | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waits_since: float | None = self.creation_time

    def received(self, data: bytes) -> bool:
        """See waitress: bytes have come."""
        if self.waits_since is None:
            self.waits_since = self.last_activity
        taken: bool = super().received(data)
        if self.request is None:
            self.waits_since = None
        return taken

    @property
    def waits(self) -> bool:
        """Whether it is the client's turn."""
        return not (self.requests or self.total_outbufs_len)

    def is_stuck(self, now: float, seconds: float) -> bool:
        """Whether its answer is ready, and nothing of it was taken for so long."""
        return not (self.requests or self.waits) and now - self.last_activity > seconds

    def is_over(self, now: float) -> bool:
        """Whether it has had its time."""
        if not self.waits:
            return self.is_stuck(now, REQUEST_S)
        if self.waits_since is not None:
            return now - self.waits_since > REQUEST_S
        return bool(now - self.last_activity > IDLE_S)


class Server(TcpWSGIServer):
    """waitress on a bound socket, with these rules."""

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
        self.per_address, self.proxies = per_address, proxies
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
        """What is done with a new connection."""
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
        """See waitress: close what is over its time."""
        for channel in list(self.active_channels.values()):
            if channel.is_over(now):
                # At once: where nothing can be written, waitress would wait to close it.
                channel.handle_close()
        # Nobody is accepted at the total, where all were served when it was reached.
        self._make_room()

    def _caller(self, host: str) -> Network | None:
        """Whose connection it is; None where nobody is counted."""
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        if not self.per_address or any(address in network for network in self.proxies):
            return None
        bits = IPV6_CALLER if address.version == 6 else address.max_prefixlen
        return ipaddress.ip_network((address, bits), strict=False)

    def _held_by(self, caller: Network) -> int:
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
        # Those that owe the rest of a request come before those that may send another one.
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
            "connections: %d refused, since their address holds too many; %d closed to make room "
            "at the total of %d; %s. Others are served. See docs/operations.md, the web process",
            *(self._refused, self._closed, self.adj.connection_limit, last),
            extra=event("connections-refused", refused=self._refused, closed=self._closed),
        )
        self._refused = self._closed = 0
        self._told_at = now
