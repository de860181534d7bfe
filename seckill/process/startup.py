"""Waiting for services at start: retries with pauses, reports what is missing, gives up in time."""

import time
from collections.abc import Callable
from typing import TypeVar

from seckill.errors import ServiceAway
from seckill.process.shutdown import Shutdown

T = TypeVar("T")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0


class Stopped(Exception):
    """A stop was requested during the wait."""


def wait_for(
    attempt: Callable[[], T], limit_s: float, shutdown: Shutdown, say: Callable[[str], None]
) -> T:
    """The first result of `attempt`. Raises Stopped, or after the limit its last ServiceAway."""
    deadline = time.monotonic() + limit_s
    pause = FIRST_PAUSE_S
    told = ""
    while True:
        try:
            return attempt()
        except ServiceAway as away:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if away.service != told:
                say(f"{str(away).rstrip('.')}. Trying for {left:.0f} s more (--connect-timeout-s)")
                told = away.service
        if shutdown.wait(min(pause, max(deadline - time.monotonic(), 0.01))):
            raise Stopped
        pause = min(pause * 2, LONGEST_PAUSE_S)
