"""`manage.py healthy WORKER`: for a probe, whether this host's worker lives."""

from typing import Any

from django.core.management.base import CommandParser

from seckill.config.layers import load
from seckill.config.sections import Door, Events, LogWorker, Server, Settler, Webhooks
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.arguments import add_address_flags, add_lanes_flag, lanes_of, seconds
from seckill.process import exit_codes
from seckill.telemetry.healthy import WITHIN_S, WORKERS, look

# The section in which a worker finds its Redis.
SECTION_OF: dict[str, type[Any]] = {
    "consumer": Server,
    "door": Door,
    "events": Events,
    "log-worker": LogWorker,
    "settler": Settler,
    "webhooks": Webhooks,
}


class Command(base.Command):
    """Look, say, exit."""

    help = (
        "Say whether the processes of a worker on this host live, by their own heartbeats in "
        "Redis: for probes of Kubernetes and Docker, which restart what hangs. While Redis takes "
        "no heartbeats nobody can know, and it answers 0: a restart would mend nothing. It starts "
        "without Django."
    )
    examples = (
        "consumer",
        "log-worker --within-s 60",
        "consumer --lane all",
    )
    codes = {
        exit_codes.OK: "it lives, or Redis takes no heartbeats",
        exit_codes.FAILED: "no process of it has a heartbeat, or one is silent for too long",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """Which worker, and how long it may be silent."""
        parser.add_argument("worker", choices=sorted(WORKERS), help="the worker of this host")
        parser.add_argument(
            "--within-s", type=seconds, default=WITHIN_S, metavar="SECONDS",
            help="how long a process may be silent (default: %(default)g)",
        )  # fmt: skip
        add_lanes_flag(parser)
        add_address_flags(parser, "redis_url")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        flags, worker = {"redis_url": options["redis_url"]}, options["worker"]
        lanes, well = lanes_of(options), True
        for name in lanes:
            section: Any = load(SECTION_OF[worker], flags, lane=name)
            health = look(section.redis_url, Lane.named(name), worker, options["within_s"])
            self.stdout.write(health.why if len(lanes) == 1 else f"{name}: {health.why}")
            well = well and health.well
        if not well:
            raise SystemExit(exit_codes.FAILED)
