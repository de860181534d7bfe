"""The consumer processes of one parent: starts, restarts and stops them.

Children are spawned, never forked, because a Kafka client has threads.
"""

import logging
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from seckill.config.sections import ConsumerSection
from seckill.consumer.memory import LIMIT_MB, children_give_back, small_stacks
from seckill.lane.keys import Lane
from seckill.process.events import event
from seckill.process.exit_codes import CANNOT_UNPACK, OK
from seckill.process.shutdown import start_child, stop_children

log = logging.getLogger(__name__)

# Seconds before a dead child is restarted: at first, and at most.
FIRST_RESTART_S, LONGEST_RESTART_S = 0.5, 30.0
# A child that lived for this long is restarted after the shortest pause.
HEALTHY_S = 30.0
# Seconds that children have to finish their batch and leave the group.
STOP_S = 20.0
# The fast client does not limit what it unpacks. Its process has a memory limit, and ends there.
FAST_CLIENT, BOUNDED_CLIENT = "confluent-kafka", "kafka-python"
CANNOT_UNPACK_CODES = (CANNOT_UNPACK, -signal.SIGABRT)

# The main function of a child. Its section is of the parent's own class.
Work = Callable[[Any, Lane], None]


@dataclass
class _Child:
    number: int
    process: BaseProcess | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    pause_s: float = FIRST_RESTART_S


@dataclass
class Children:
    """`server.consumers` processes that run `work`. `keep_alive` starts those that are missing.

    `forget` is called with the pid of a process that ended and could not report it itself.
    """

    server: ConsumerSection
    lane: Lane
    work: Work
    forget: Callable[[int], None]

    restarts: int = 0
    _children: list[_Child] = field(default_factory=list)

    def __post_init__(self) -> None:
        children_give_back()
        self._context = multiprocessing.get_context("spawn")
        self._children = [_Child(number) for number in range(1, self.server.consumers + 1)]

    @property
    def alive(self) -> int:
        """The number of running processes."""
        return sum(1 for child in self._children if child.process and child.process.is_alive())

    def keep_alive(self) -> None:
        """Start the processes that are not running, each after its pause."""
        for child in self._children:
            self._keep_alive(child)

    def _keep_alive(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is not None:
            if child.process.is_alive():
                return
            code = child.process.exitcode
            if now - child.started_at > HEALTHY_S:
                child.pause_s = FIRST_RESTART_S
            pause_s = child.pause_s
            if code in CANNOT_UNPACK_CODES and self.server.kafka_client == FAST_CLIENT:
                self._take_the_bounded_client()
            if code in (OK, CANNOT_UNPACK):
                # It left the group properly.
                pause_s = FIRST_RESTART_S
            elif self.server.consumers > 1:
                # If the replacement joins before the dead member's session expires, the rebalance
                # blocks the whole group. After it, the others keep working.
                pause_s = max(pause_s, self.server.session_timeout / 1000)
            log.error(
                "consumer %d ended with code %s; nothing is lost, starting it again in %.1f s",
                child.number,
                code,
                pause_s,
                extra=event("child-ended", consumer=child.number, code=code),
            )
            self.restarts += 1
            if child.process.pid is not None:
                self.forget(child.process.pid)
            child.process.close()
            child.process = None
            child.start_at = now + pause_s
            child.pause_s = min(child.pause_s * 2, LONGEST_RESTART_S)
        if now >= child.start_at:
            child.process = self._context.Process(
                target=self.work,
                args=(self._named(child.number), self.lane),
                name=f"consumer-{child.number}",
                daemon=True,
            )
            with small_stacks():
                start_child(child.process)
            child.started_at = now

    def _named(self, number: int) -> ConsumerSection:
        """The section of one child: members of a group have different names."""
        name = self.server.group_instance_id
        if name is None or self.server.consumers == 1:
            return self.server
        return self.server.model_copy(update={"group_instance_id": f"{name}-{number}"})

    def _take_the_bounded_client(self) -> None:
        """Restart all children at once: otherwise each would end at the same batch in turn."""
        log.error(
            "a batch in Kafka cannot be unpacked by %s, or takes more than the %d MB that a "
            "consumer may have: all consumers of this process start again on %s, which counts such "
            "messages as INVALID and goes on. Nothing is lost. It is slower: restart this command "
            "when nobody sends such messages any more",
            *(FAST_CLIENT, LIMIT_MB, BOUNDED_CLIENT),
            extra=event("cannot-unpack"),
        )
        self.server = self.server.model_copy(update={"kafka_client": BOUNDED_CLIENT})
        for child in self._children:
            if child.process is not None and child.process.is_alive():
                child.process.terminate()

    def stop(self) -> None:
        """Stop all children and wait. Those that do not stop in time are killed."""
        running = [child.process for child in self._children if child.process is not None]
        killed = stop_children(running, STOP_S)
        if killed:
            log.error(
                "%d consumers did not stop within %.0f s and were killed",
                *(killed, STOP_S),
                extra=event("child-killed", consumers=killed),
            )
        for child in self._children:
            child.process = None
