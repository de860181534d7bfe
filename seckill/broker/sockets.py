"""How kafka-python connects: a socket that fails to connect is closed at once.

The library leaves it to the garbage collector, which runs rarely in a consumer. While Kafka is away
the library tries once per second, so after an hour the process would run out of file descriptors.
"""

import socket
from typing import Any

from kafka.net.inet import KafkaNetSocket


class ClosingSocket(KafkaNetSocket):
    """Connects directly. The library selects it by the scheme of option `proxy_url`."""

    SCHEMES = ("direct",)

    async def sock_connect(
        self, net: Any, sock: socket.socket, sockaddr: Any, timeout_at: float | None = None
    ) -> socket.socket:
        """See the library."""
        try:
            connected: socket.socket = await super().sock_connect(net, sock, sockaddr, timeout_at)
        except BaseException:
            # Also if the task is cancelled because the client is being closed.
            sock.close()
            raise
        return connected


CLOSING = "direct://"
