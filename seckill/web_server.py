"""The web process: waitress on one socket, ended by a request to stop and not by an exception.

Owns the socket and the loop. Order of a stop: no new connections, answers in flight, threads.
"""

import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from waitress import wasyncore

from seckill.shutdown import Shutdown
from seckill.web_crowd import Server
from seckill_project.addresses import Network

# Seconds between looks at the request to stop; an idle process wakes so often and no more.
TURN_S = 0.5
# Seconds for answers in flight when a stop was asked for.
GRACE_S = 10.0
# Bytes of a request; Django has its own, lower limit for forms and bodies.
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_CONNECTIONS = 500


class PortTaken(Exception):
    """The address cannot be listened on. The message is for a person."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, not yet taking connections. Raises PortTaken."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as wrong:
        raise PortTaken(f"{host!r} is no address of this machine: {wrong}") from None
    # As servers do: connections of the last run that still fade away are no obstacle.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        # Another listener shows only now where both allow the reuse of the address.
        bound.listen()
    except OSError as wrong:
        bound.close()
        raise PortTaken(f"{host}:{port} cannot be listened on: {wrong.strerror}") from None
    return bound


def address_of(bound: socket.socket) -> str:
    """host:port as URLs have it; the loopback address for one that means all."""
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
    """Answer requests until a stop is asked for; 0 connections `per_address` is no limit."""
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
    # The trigger stays: threads wake the loop through it until their answers are out.
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
