"""Several door processes on one port: keeps them running.

Each opens a socket of its own on the same port (SO_REUSEPORT), and the kernel spreads the
connections. The parent holds the port without listening, so that it stays the same while children
restart.
"""

import logging
from collections.abc import Callable
from typing import Any

from seckill.process.crew import Crew
from seckill.process.events import event
from seckill.process.shutdown import Shutdown

log = logging.getLogger(__name__)

# Seconds between two looks, for a stop, and before a process that ended is started again: buyers
# wait for it.
LOOK_S, STOP_S, RESTART_S = 0.2, 15.0, 1.0


def keep_running(
    processes: int, work: Callable[..., None], given: tuple[Any, ...], shutdown: Shutdown
) -> None:
    """Keep so many processes that run `work(*given)` until a stop is requested."""
    jobs = {f"door-{number}": given for number in range(1, processes + 1)}
    crew = Crew(work, jobs, _tell, longest_s=RESTART_S)
    while not shutdown.requested:
        crew.keep_alive()
        shutdown.wait(LOOK_S)
    killed = crew.stop(STOP_S)
    if killed:
        log.error(
            "%d door processes did not stop within %.0f s and were killed; who waited there asks "
            "again, and nothing is lost",
            *(killed, STOP_S),
            extra=event("door-killed", processes=killed),
        )


def _tell(name: str, code: int, pause_s: float) -> None:
    log.error(
        "process %s ended with code %s; it starts again in %.0f s",
        *(name, code, pause_s),
        extra=event("door-ended", code=code),
    )
