"""Child processes of a command: starts them, starts those again that end, stops them.

Owns the pauses before a new start. What an end means is its caller's. Children are spawned, never
forked, because Kafka clients have threads.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from seckill.process.shutdown import start_child, stop_children

# Seconds before a child is started again: at first, and at most.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
# A child that lived for this long is started again after the shortest pause.
HEALTHY_S = 30.0


@dataclass
class _Child:
    process: BaseProcess | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    pause_s: float = FIRST_PAUSE_S


@dataclass
class Crew:
    """`jobs` are {name: arguments of `work`}, one process each, which may have children if
    `parents`. `told` hears of an end: name, exit code, seconds until it is started again, which are
    `longest_s` at most.
    """

    work: Callable[..., None]
    jobs: Mapping[str, tuple[Any, ...]]
    told: Callable[[str, int, float], None]
    parents: bool = False
    longest_s: float = LONGEST_PAUSE_S

    # {name: exit code} of those that do not run now.
    ended: dict[str, int] = field(default_factory=dict)
    _children: dict[str, _Child] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._children = {name: _Child() for name in self.jobs}

    def keep_alive(self, again: Callable[[int], bool] = lambda code: True) -> None:
        """Start what does not run, each after its pause; after an end only if `again` says so of
        its exit code.
        """
        for name, child in self._children.items():
            self._keep_alive(name, child, again)

    def _keep_alive(self, name: str, child: _Child, again: Callable[[int], bool]) -> None:
        now = time.monotonic()
        if child.process is not None:
            code = child.process.exitcode
            if code is None:
                return
            self.ended[name] = code
            if now - child.started_at > HEALTHY_S:
                child.pause_s = FIRST_PAUSE_S
            child.process.close()
            child.process = None
            if again(code):
                self.told(name, code, child.pause_s)
            child.start_at, child.pause_s = (
                now + child.pause_s,
                min(child.pause_s * 2, self.longest_s),
            )
        if now < child.start_at or (name in self.ended and not again(self.ended[name])):
            return
        self.ended.pop(name, None)
        child.process = self._context.Process(
            target=self.work, args=self.jobs[name], name=name, daemon=not self.parents
        )
        start_child(child.process)
        child.started_at = now

    def stop(self, seconds: float) -> int:
        """Stop all and wait. Those that do not end in time are killed; how many those were."""
        running = {n: c.process for n, c in self._children.items() if c.process is not None}
        killed = stop_children(list(running.values()), seconds)
        self.ended.update({name: process.exitcode or 0 for name, process in running.items()})
        return killed
