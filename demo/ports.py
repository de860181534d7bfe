"""The ports of the processes that `run_sale` starts: the usual ones, or free ones."""

from collections.abc import Container
from dataclasses import dataclass

from django.core.management.base import CommandError

from devstack.state import free_port, port_is_free
from seckill.process import exit_codes


@dataclass(frozen=True)
class Ports:
    """Where the web process, the buyers' door and the demo shop listen."""

    web: int
    door: int
    shop: int


def port_of(wanted: int | None, usual: int, flag: str, others: Container[int] = frozenset()) -> int:
    """The requested port, the usual one, or a free one; none of `others`. Raises CommandError."""
    port = wanted or usual
    if port not in others and port_is_free(port):
        return port
    if wanted:
        raise CommandError(
            f"port {wanted} is taken: name another one ({flag}), or none to get a free one",
            returncode=exit_codes.USAGE,
        )
    return free_port(others)
