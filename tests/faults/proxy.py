"""Between a client and a server: passes everything on, until it is told to misbehave.

The fault that finds bugs is the lost reply: the request is forwarded, the server does it, and the
answer never arrives. Knows no protocol but the frames of Kafka, whose answers carry addresses.
"""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HOST = "127.0.0.1"
# Bytes of one read.
CHUNK = 1 << 16
# Whether the answer to this request is to be lost.
Loses = Callable[[bytes], bool]


@dataclass
class _Link:
    """One connection through the proxy: both of its ends, and the answers that must not arrive."""

    client: socket.socket
    server: socket.socket
    lost: set[int] = field(default_factory=set)
    swallowed: bool = False

    def cut(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Proxy:
    """A port of its own in front of a server. A context manager."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._links: list[_Link] = []
        self._loses: Loses = lambda request: False
        # Seconds that each answer takes longer.
        self.delay_s = 0.0
        # New connections too are accepted and never served.
        self.swallows = False
        self.lost = 0
        self._guard = threading.Lock()

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def lose_answers(self, to: Loses) -> None:
        """From now on: forward these requests, await their answers, drop them and cut the line."""
        self._loses = to

    def swallow(self) -> None:
        """Half-open: connections stay, and nothing arrives any more on either side."""
        self.swallows = True
        for link in list(self._links):
            link.swallowed = True

    def behave(self) -> None:
        """Pass on everything. What was swallowed stays so: its connections are cut."""
        self._loses = lambda request: False
        self.delay_s, self.swallows = 0.0, False
        for link in list(self._links):
            if link.swallowed:
                link.cut()

    def cut(self) -> None:
        """Cut every connection."""
        for link in list(self._links):
            link.cut()

    def requests(self, link: _Link) -> Iterator[tuple[int, bytes]]:
        """What the client sends, as (number, bytes). Here: as it comes, all of number 0."""
        while data := link.client.recv(CHUNK):
            yield 0, data

    def answers(self, link: _Link) -> Iterator[tuple[int, bytes]]:
        """What the server sends, with the number of its request."""
        while data := link.server.recv(CHUNK):
            yield 0, data

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((HOST, self._target), 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            link = _Link(client, server, swallowed=self.swallows)
            self._links.append(link)
            pumps = [
                threading.Thread(target=pump, args=(link,), daemon=True)
                for pump in (self._forward, self._return)
            ]
            for pump in pumps:
                pump.start()
            threading.Thread(target=self._end, args=(link, pumps), daemon=True).start()

    def _forward(self, link: _Link) -> None:
        with contextlib.suppress(OSError):
            for number, request in self.requests(link):
                if link.swallowed:
                    continue
                if self._loses(request):
                    link.lost.add(number)
                link.server.sendall(request)
        link.cut()

    def _return(self, link: _Link) -> None:
        with contextlib.suppress(OSError):
            for number, answer in self.answers(link):
                if link.swallowed:
                    continue
                if number in link.lost:
                    with self._guard:
                        self.lost += 1
                    break
                if self.delay_s:
                    time.sleep(self.delay_s)
                link.client.sendall(answer)
        link.cut()

    def _end(self, link: _Link, pumps: list[threading.Thread]) -> None:
        for pump in pumps:
            pump.join()
        link.client.close()
        link.server.close()
        self._links.remove(link)


class KafkaProxy(Proxy):
    """In front of one broker: its address in answers becomes the proxy's, or clients walk past."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        # As the protocol writes it: the host's text, then the port.
        self._before = HOST.encode() + struct.pack(">i", port)
        self._after = HOST.encode() + struct.pack(">i", self.port)

    def requests(self, link: _Link) -> Iterator[tuple[int, bytes]]:
        """Whole requests with their correlation id."""
        for frame in _frames(link.client):
            yield struct.unpack_from(">i", frame, 8)[0], frame

    def answers(self, link: _Link) -> Iterator[tuple[int, bytes]]:
        """Whole answers with the correlation id of their request."""
        for frame in _frames(link.server):
            yield struct.unpack_from(">i", frame, 4)[0], frame.replace(self._before, self._after)


def _frames(end: socket.socket) -> Iterator[bytes]:
    """Size and body of each, as one."""
    data = bytearray()
    while chunk := end.recv(CHUNK):
        data += chunk
        while len(data) >= 4 and len(data) >= (size := 4 + struct.unpack_from(">i", data)[0]):
            yield bytes(data[:size])
            del data[:size]


def kafka_request(*keys: int) -> Loses:
    """Requests of Kafka with one of these API keys."""
    return lambda frame: struct.unpack_from(">h", frame, 4)[0] in keys
