"""`manage.py bench`: measures this machine, stage by stage."""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from bench import deciding, door, failover, flow, growth, lanes, rig, secured, settling, storing
from bench.figures import AuditFailed, Figure, machine, tables
from bench.rig import Rig
from devstack.crew import Crew, worker_environment
from devstack.endpoints import DevstackError
from devstack.stack import Stack
from seckill.broker.topics import Topics
from seckill.config.layers import BASE_DIR, load
from seckill.config.sections import Server
from seckill.lane.client import connect
from seckill.management import base
from seckill.management.arguments import positive, use_database
from seckill.process import exit_codes
from seckill.process.columns import Fitted
from seckill.process.console import Console

SCENARIOS: dict[str, Callable[[Rig], list[Figure]]] = {
    "winners": deciding.winners,
    "user-limit": deciding.user_limit,
    "holds": lambda rig: [*deciding.holds(rig), *settling.settling(rig)],
    "losers": deciding.losers,
    "realistic": deciding.realistic,
    "several": deciding.several,
    "lanes": lanes.lanes,
    "replica": lanes.replica,
    "failover": failover.failover,
    "secured": secured.secured,
    "store": storing.store,
    "all-at-once": flow.all_at_once,
    "latency": flow.latency,
    "first-request": flow.first_request,
    "idle": flow.idle,
    "door": door.door,
    "growth-backlog": growth.backlog,
    "growth-rows": growth.rows,
    "growth-buyers": growth.buyers,
    "growth-items": growth.items,
    "growth-request": growth.items_a_request,
    "growth-partitions": growth.partitions,
}
# Columns of the tables in a file.
FILE_WIDTH = 160
# What `--quick` leaves out, so that it takes two minutes.
SLOW = {name for name in SCENARIOS if name.startswith("growth-")} | {
    *("several", "lanes", "replica", "failover", "secured", "idle")
}


class Command(base.Command):
    """Start services, measure, show, remove the services."""

    help = (
        "Measure each stage on new embedded services on this machine. If the audit of a run is not "
        "clean it prints no rate."
    )
    examples = (
        "--quick",
        "--scenario winners losers --repeats 5",
        "--quick --json > figures.json",
    )
    codes = {
        exit_codes.FAILED: "an audit is not clean, so there are no figures",
        exit_codes.UNREACHABLE: "a service or a worker failed",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """What to measure, how much, and the form of the output."""
        parser.add_argument(
            "--scenario", nargs="+", metavar="NAME", choices=SCENARIOS, help=", ".join(SCENARIOS)
        )
        size = parser.add_mutually_exclusive_group()
        size.add_argument("--quick", action="store_true", help="small and only once: two minutes")
        size.add_argument(
            "--full", action="store_true", help="growth to 5 million requests, 10 million rows"
        )
        parser.add_argument("--requests", type=positive, metavar="N", help="backlog of a run")
        parser.add_argument(
            "--repeats", type=positive, metavar="N", help="repeats of figures that are compared"
        )
        parser.add_argument("--clicks", type=positive, metavar="N", help="clicks at the door")
        parser.add_argument(
            "--waiting", type=positive, metavar="N", help="buyers who wait at the door"
        )
        parser.add_argument("--json", action="store_true", help="the figures as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code 1 if an audit is not clean."""
        # SIGTERM ends it like Ctrl-C: services and workers are stopped and removed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(exit_codes.SECOND_SIGNAL))
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        console = Console(stderr=options["json"], soft_wrap=True, highlight=False)
        if not console.is_terminal:
            console.width = FILE_WIDTH
        size = rig.QUICK if options["quick"] else rig.FULL if options["full"] else rig.DEFAULT
        for name in ("requests", "repeats", "clicks", "waiting"):
            if options[name]:
                size = replace(size, **{name: options[name]})
        chosen = options["scenario"] or [
            name for name in SCENARIOS if not (options["quick"] and name in SLOW)
        ]
        figures: list[Figure] = []
        with tempfile.TemporaryDirectory(prefix="seckill-bench-") as folder, ExitStack() as ends:
            stack = Stack(Path(folder) / "services")
            ends.callback(stack.remove)
            try:
                endpoints = stack.up(console.say, owner_pid=os.getpid())
                environment = worker_environment(endpoints.as_env()) | door.DOOR_SECRETS
                crew = Crew(BASE_DIR, Path(folder) / "logs", environment)
                ends.callback(crew.stop)
                use_database(endpoints.pg_dsn)
                call_command("migrate", verbosity=0)
                server = load(Server, environ=environment)
                client = connect(endpoints.redis_url)
                about = machine(client, endpoints.pg_dsn)
                topics = ends.enter_context(Topics(server))
                bench = Rig(server, client, crew, stack, topics, size, console.say)
                for name in chosen:
                    figures += SCENARIOS[name](bench)
            except AuditFailed as failed:
                raise CommandError(f"no figures, the audit failed: {failed}") from None
            except DevstackError as wrong:
                raise CommandError(str(wrong), returncode=exit_codes.UNREACHABLE) from None
        if options["json"]:
            told = [figure.as_json() for figure in figures]
            self.print_json({"schema": 1, "machine": about, "figures": told})
            return
        for table in tables(figures, about):
            console.print(Fitted(table, "cores in use, notes", "goal", "spread"))
