"""The web process: waitress on one socket. A stop request ends it, not an exception.

Owns the loop. Order of a stop: no new connections, then answers in flight, then
threads.
"""

import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from waitress import wasyncore

from seckill.config.addresses import Network
from seckill.process.shutdown import Shutdown
from seckill.web.crowd import Server

# Seconds between two checks for a stop request. An idle process does not wake more often.
TURN_S = 0.5
# Seconds that a stop waits for answers in flight.
GRACE_S = 10.0
# Largest request in bytes. Django has its own, lower limit for forms and bodies.
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_CONNECTIONS = 500


def serve(
    application: Callable[..., Any],
    bound: socket.socket,
    threads: int,
    shutdown: Shutdown,
    *,
    per_address: int = 0,
    proxies: Sequence[Network] = (),
) -> None:
    """Answer requests until a stop is requested. `per_address` 0 means no limit."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    sockets: dict[int, Any] = {}
    server = Server(
        application,
        bound,
        sockets,
        threads=threads,
        per_address=per_address,
        proxies=proxies,
        ident="seckill",
        connection_limit=MAX_CONNECTIONS,
        max_request_body_size=MAX_BODY_BYTES,
        clear_untrusted_proxy_headers=True,
    )
    while not shutdown.requested:
        wasyncore.loop(timeout=TURN_S, use_poll=True, map=sockets, count=1)
    # The trigger stays: threads wake the loop through it until their answers are sent.
    server.del_channel()
    bound.close()
    deadline = time.monotonic() + GRACE_S
    while _in_flight(server) and time.monotonic() < deadline:
        wasyncore.loop(timeout=0.05, use_poll=True, map=sockets, count=1)
    server.task_dispatcher.shutdown(cancel_pending=True, timeout=1)
    wasyncore.close_all(sockets, ignore_all=True)


def _in_flight(server: Any) -> bool:
    return any(
        channel.requests or channel.total_outbufs_len
        for channel in list(server.active_channels.values())
    )
