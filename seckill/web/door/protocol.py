"""What uvicorn lacks: limits on slow and oversized requests, and problems for what is not HTTP.

A request's headers must be complete HEADERS_S after its first byte, or after the connection, and
have at most MAX_HEADERS bytes: whoever is slower or longer is cut off. Its body must be complete
BODY_S later; the application is told if it is not. Most requests come in one piece, and these need
no timer.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from seckill.web.door.http import BODY_S, LATE, Problem, problem_response

HEADERS_S = 10.0
MAX_HEADERS = 16 * 1024
# Seconds that a connection stays open between two requests: longer than proxies keep theirs.
IDLE_S = 75


class LimitedProtocol(HttpToolsProtocol):
    """A connection of a buyer."""

    # Seconds for what is read now, headers or a body; None: nothing is.
    _time_s: float | None = None
    _deadline: asyncio.TimerHandle | None = None
    _unread = 0
    _in_headers = True

    def connection_made(self, transport: Any) -> None:
        """See asyncio."""
        super().connection_made(transport)
        self._read_for(HEADERS_S)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._read_for(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._in_headers:
            self._unread += len(data)
            if self._unread > MAX_HEADERS + 4096:
                self.transport.abort()
                return
        super().data_received(data)
        self._watch()

    def on_message_begin(self) -> None:
        """See httptools."""
        self._read_for(HEADERS_S)
        self._in_headers, self._unread = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._read_for(BODY_S)
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools."""
        super().on_message_complete()
        self._read_for(None)
        self._in_headers, self._unread = True, 0

    def send_400_response(self, msg: str) -> None:
        """See uvicorn, whose own is plain text: what is not HTTP gets a problem, as all others."""
        answer = problem_response(Problem(400, "this is not an HTTP request; nothing was sent"))
        headers = [
            *answer.headers,
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            (b"connection", b"close"),
        ]
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[400], *lines, b"\r\n", answer.body]))
        self.transport.close()

    def _read_for(self, seconds: float | None) -> None:
        self._time_s = seconds
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _watch(self) -> None:
        if self._time_s is not None and self._deadline is None:
            self._deadline = self.loop.call_later(self._time_s, self._too_late)

    def _too_late(self) -> None:
        if self._in_headers or self.cycle.response_complete:
            if not self.transport.is_closing():
                self.transport.abort()
            return
        self.scope["state"][LATE] = True
        self.cycle.message_event.set()
        # Whoever goes on after the answer is cut off.
        self._read_for(BODY_S)
        self._watch()
