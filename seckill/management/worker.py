"""How the command of a worker begins and ends: its lanes, its stop, its parameters, its log, its
metrics.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from django.core.management.base import CommandError, CommandParser

from seckill.config.layers import load
from seckill.config.sections import Events, LogWorker, Server, Settler, Webhooks
from seckill.formats.advice import in_lane
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.arguments import (
    add_lanes_flag,
    add_section_flags,
    add_supervision_flag,
    lanes_of,
    section_flags,
)
from seckill.management.several_lanes import run_lanes
from seckill.monitoring.metrics import serve_metrics
from seckill.process import exit_codes
from seckill.process.logs import configure_logging, speaker
from seckill.process.shutdown import Shutdown, shutdown_of_a_command
from seckill.process.startup import Stopped, wait_for

S = TypeVar("S", Server, LogWorker, Settler, Events, Webhooks)
T = TypeVar("T")


class Group(Protocol):
    """Processes that work until a stop, or until nothing is left."""

    def run(self, *, drain: bool, drain_limit_s: float | None) -> bool:
        """False: the limit was over before all was done."""


@dataclass(frozen=True)
class Started(Generic[S]):
    """A worker's command that has begun. What is entered in `ends` is closed at its end."""

    section: S
    lane: Lane
    shutdown: Shutdown
    ends: ExitStack
    say: Callable[[str], None]

    def wait_for(self, attempt: Callable[[], T]) -> T:
        """The first result within --connect-timeout-s. Raises Stopped, or its last ServiceAway."""
        return wait_for(attempt, self.section.connect_timeout, self.shutdown, self.say)


class WorkerCommand(base.Command, Generic[S]):
    """The command of a worker in one lane, or in several: see `several_lanes`."""

    kind: ClassVar[type[Any]]
    # Flags that end the command by themselves, beside --drain.
    ends_by: ClassVar[tuple[str, ...]] = ()
    # Flags that mean something in one lane alone.
    one_lane: ClassVar[tuple[str, ...]] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """What every worker has. Its own flags come before."""
        add_lanes_flag(parser)
        add_supervision_flag(parser)
        add_section_flags(parser, self.kind)

    def handle(self, *args: Any, **options: Any) -> None:
        """Work in each lane."""
        lanes = lanes_of(options)
        if len(lanes) == 1:
            self.work({**options, "lane": lanes[0]})
            return
        once = any(options.get(flag) for flag in ("drain", *self.ends_by))
        run_lanes(self, self.kind, lanes, options, self.one_lane, once=once)

    def work(self, options: dict[str, Any]) -> None:
        """Work in lane `options["lane"]`."""
        raise NotImplementedError


@contextmanager
def working(
    command: base.Command, name: str, kind: type[S], options: dict[str, Any]
) -> Iterator[Started[S]]:
    """A command from its parameters to its end. A stop while it waits for a service ends it."""
    with shutdown_of_a_command() as shutdown, ExitStack() as ends:
        if options["stop_with_stdin"]:
            shutdown.watch_stdin()
        section = load(kind, section_flags(options, kind), lane=options["lane"])
        lane, adapt = Lane.named(options["lane"]), partial(in_lane, lane=options["lane"])
        configure_logging(section.log_format, adapt)
        say = speaker(command.stdout, section.log_format, name, adapt)
        ends.enter_context(
            serve_metrics(
                section.metrics_host, section.metrics_port, {lane.name: section.redis_url}
            )
        )
        try:
            yield Started(section, lane, shutdown, ends, say)
        except Stopped:
            say("stopped before it started")


def run_group(group: Group, options: dict[str, Any], done: str) -> None:
    """Run it as --drain and --drain-limit-s say. Raises CommandError if not all was `done`."""
    drain_s = options["drain_limit"]
    if not group.run(drain=options["drain"], drain_limit_s=drain_s):
        raise CommandError(
            f"not everything was {done} within {drain_s:g} s (--drain-limit-s): the rest waits in "
            "Kafka, nothing is lost",
            returncode=exit_codes.NOT_IN_TIME,
        )
