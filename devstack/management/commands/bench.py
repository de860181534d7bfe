"""`manage.py bench`: what this machine does, stage by stage."""

import json
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
from django.core.management.base import BaseCommand, CommandError, CommandParser

from devstack.bench import deciding, flow, growth, lanes, rig, storing
from devstack.bench.figures import AuditFailed, Figure, machine, tables
from devstack.bench.rig import Rig
from devstack.crew import Crew
from devstack.endpoints import DevstackError
from devstack.sale import worker_environment
from devstack.stack import Stack
from seckill import exit_codes
from seckill.broker.topics import Topics
from seckill.console import Console
from seckill.management.arguments import positive, readable_errors, use_database
from seckill.redis_client import connect
from seckill_project.config import BASE_DIR, Server, load

SCENARIOS: dict[str, Callable[[Rig], list[Figure]]] = {
    "winners": deciding.winners,
    "user-limit": deciding.user_limit,
    "losers": deciding.losers,
    "realistic": deciding.realistic,
    "several": deciding.several,
    "lanes": lanes.lanes,
    "store": storing.store,
    "all-at-once": flow.all_at_once,
    "latency": flow.latency,
    "first-request": flow.first_request,
    "idle": flow.idle,
    "growth-backlog": growth.backlog,
    "growth-rows": growth.rows,
    "growth-buyers": growth.buyers,
    "growth-items": growth.items,
    "growth-request": growth.items_a_request,
    "growth-partitions": growth.partitions,
}
# Columns of the tables in a file.
FILE_WIDTH = 160
# What `--quick` leaves out: it is to be done in two minutes.
SLOW = {name for name in SCENARIOS if name.startswith("growth-")} | {"several", "lanes", "idle"}


class Command(BaseCommand):
    """Own services, measure, show, remove them."""

    help = (
        "Measure each stage on fresh embedded services beside everything else on this machine. "
        "Prints no rate when the audit of a run is not clean, and exits 1; 3 when a service or "
        "a worker does not do its part."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """What is measured, how much of it, in which form."""
        parser.add_argument(
            "--scenario", nargs="+", metavar="NAME", choices=SCENARIOS, help=", ".join(SCENARIOS)
        )
        size = parser.add_mutually_exclusive_group()
        size.add_argument("--quick", action="store_true", help="small and once, in two minutes")
        size.add_argument(
            "--full", action="store_true", help="growth to 5 million requests, 10 million rows"
        )
        parser.add_argument("--requests", type=positive, metavar="N", help="backlog of a run")
        parser.add_argument("--repeats", type=positive, metavar="N", help="of what is compared")
        parser.add_argument("--json", action="store_true", help="the figures as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code 1 when an audit is not clean."""
        # As Ctrl-C does: services and workers are stopped and removed on the way out.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(exit_codes.SECOND_SIGNAL))
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        console = Console(stderr=options["json"], soft_wrap=True, highlight=False)
        if not console.is_terminal:
            console.width = FILE_WIDTH
        size = rig.QUICK if options["quick"] else rig.FULL if options["full"] else rig.DEFAULT
        for name in ("requests", "repeats"):
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
                with readable_errors():
                    endpoints = stack.up(console.say, owner_pid=os.getpid())
                    environment = worker_environment(endpoints.as_env())
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
            told = {"machine": about, "figures": [figure.as_json() for figure in figures]}
            json.dump(told, sys.stdout, indent=1)
            self.stdout.write("")
            return
        for table in tables(figures, about):
            console.print(table)
