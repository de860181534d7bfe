"""The socket of a web process: bound, or told why not, in words for a person."""

import ipaddress
import socket

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


def told_without_tls(bound: socket.socket, what: str) -> str:
    """A warning that `what` travels unencrypted; "" if only this machine can reach the socket."""
    host = bound.getsockname()[0]
    if ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        return ""
    return (
        f"WARNING: {host} can be reached from other machines, and this process has no TLS: "
        f"{what} travel unencrypted. Put a proxy with TLS in front of it."
    )
