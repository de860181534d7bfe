"""The ports of the processes that `run_sale` starts: the usual ones, or free ones."""

import socket
from collections.abc import Container
from dataclasses import dataclass

from django.core.management.base import CommandError

from seckill.process import exit_codes


@dataclass(frozen=True)
class Ports:
    """Where the web process, the buyers' door and the demo shop listen."""

    web: int
    door: int
    shop: int


def free_port(
    wanted: int | None, usual: int, flag: str, others: Container[int] = frozenset()
) -> int:
    """The requested port, the usual one, or a free one; none of `others`. Raises CommandError."""
    for port in [wanted] if wanted else [usual, 0]:
        if port in others:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CommandError(
        f"port {wanted} is taken: name another one ({flag}), or none to get a free one",
        returncode=exit_codes.USAGE,
    )
