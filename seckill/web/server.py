"""The web process: waitress on one socket. A stop request ends it, not an exception.

Owns the socket and the loop. Order of a stop: no new connections, then answers in flight, then
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
# Connections that wait to be accepted.
BACKLOG = 2048


class PortTaken(Exception):
    """The address is taken or not allowed. The message is for a person."""


def listen(host: str, port: int, *, shared: bool = False, ready: bool = True) -> socket.socket:
    """A bound socket that listens if `ready`; `shared` with other sockets of this user. Raises
    PortTaken.
    """
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as wrong:
        raise PortTaken(f"{host!r} is not an address of this machine: {wrong}") from None
    # As servers do: connections of the last run in TIME_WAIT must not prevent the start.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind(address)
        # If both sockets allow address reuse, only listen() fails for a port that is taken.
        if ready:
            bound.listen(BACKLOG)
    except OSError as wrong:
        bound.close()
        raise PortTaken(f"cannot listen on {host}:{port}: {wrong.strerror}") from None
    return bound


def address_of(bound: socket.socket) -> str:
    """host:port for URLs; the loopback address if it listens on all addresses."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
