"""How kafka-python connects: what did not connect is closed.

The library leaves that to the collector, which looks rarely in a consumer. While Kafka is away it
tries once a second: after an hour the process would run out of files.
"""

import socket
from typing import Any

from kafka.net.inet import KafkaNetSocket


class ClosingSocket(KafkaNetSocket):
    """Connects directly. The library chooses it by the scheme of option `proxy_url`."""

    SCHEMES = ("direct",)

    async def sock_connect(
        self, net: Any, sock: socket.socket, sockaddr: Any, timeout_at: float | None = None
    ) -> socket.socket:
        """See the library."""
        try:
            connected: socket.socket = await super().sock_connect(net, sock, sockaddr, timeout_at)
        except BaseException:
            # Also where its task is dropped, since the client is closed meanwhile.
            sock.close()
            raise
        return connected


CLOSING = "direct://"
