"""Runs a load at a door: what the command and the demo call."""

import asyncio
import resource
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import uvloop

from loadgen.http.answers import Answers
from loadgen.http.loop import Run, greet
from loadgen.http.report import Report
from loadgen.plan import Load
from loadgen.sender import Progress, Stop
from seckill.config.layers import ConfigError
from seckill.web.door.serve import raise_file_limit
from seckill.web.door.token_maker import TokenMaker

# Open files that are not connections.
OTHER_FILES = 64


def look_at_door(door: str) -> None:
    """Return if a door answers at this address. Raises DoorAway."""
    asyncio.run(greet(door))


def run(
    load: Load,
    door: str,
    tokens: TokenMaker,
    shutdown: Stop,
    on_progress: Callable[[Progress], None],
    *,
    connections: int = 2000,
    answers: Path | None = None,
) -> Report:
    """Send a load to the door at this address (without a slash at its end), and hear the answers.

    `answers` is a file that gets a line for each click. Raises ConfigError.
    """
    files = raise_file_limit()
    if files not in (resource.RLIM_INFINITY, 0) and connections > files - OTHER_FILES:
        raise ConfigError(
            f"--connections {connections}: this process may open {files} files (ulimit -n)"
        )
    with ExitStack() as stack:
        written = None
        if answers is not None:
            try:
                written = Answers(stack.enter_context(answers.open("w", encoding="utf-8")))
            except OSError as wrong:
                raise ConfigError(
                    f"--answers {answers}: {wrong.strerror or 'cannot be written'}"
                ) from None
        return uvloop.run(
            Run(load, door, tokens, connections, shutdown, on_progress, written).run()
        )
