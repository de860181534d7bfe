"""Several door processes on one port: starts them, restarts those that end, stops them.

Each opens a socket of its own on the same port (SO_REUSEPORT), and the kernel spreads the
connections. The parent holds the port without listening, so that it stays the same while children
restart.
"""

import logging
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from seckill.config.sections import Door as Section
from seckill.process.events import event
from seckill.process.shutdown import Shutdown, start_child, stop_children

log = logging.getLogger(__name__)

# Seconds before a process that ended is started again, between two looks, and for a stop.
RESTART_S, LOOK_S, STOP_S = 1.0, 0.2, 15.0


@dataclass
class _Child:
    process: BaseProcess
    started_at: float


def keep_running(section: Section, work: Callable[[Section], None], shutdown: Shutdown) -> None:
    """Keep `section.processes` processes that run `work` until a stop is requested."""
    context = multiprocessing.get_context("spawn")
    children: list[_Child | None] = [None] * section.processes
    while not shutdown.requested:
        now = time.monotonic()
        for number, child in enumerate(children):
            if child is not None and child.process.is_alive():
                continue
            if child is not None:
                log.error(
                    "door process %d ended with code %s; starting it again",
                    *(number + 1, child.process.exitcode),
                    extra=event("door-ended", code=child.process.exitcode),
                )
                if now - child.started_at < RESTART_S:
                    shutdown.wait(RESTART_S)
            process: BaseProcess = context.Process(
                target=work, args=(section,), name=f"door-{number + 1}", daemon=True
            )
            start_child(process)
            children[number] = _Child(process, now)
        shutdown.wait(LOOK_S)
    killed = stop_children([child.process for child in children if child is not None], STOP_S)
    if killed:
        log.error(
            "%d door processes did not stop within %.0f s and were killed; who waited there asks "
            "again, and nothing is lost",
            *(killed, STOP_S),
            extra=event("door-killed", processes=killed),
        )
