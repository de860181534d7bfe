"""`manage.py bench`: what this machine does, stage by stage."""

import json
import logging
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from devstack.bench import AuditFailed, Bench, Figure, machine, prepare_database
from devstack.crew import Crew
from devstack.endpoints import DevstackError
from devstack.sale import worker_environment
from devstack.stack import Stack
from seckill import exit_codes
from seckill.management.arguments import readable_errors, use_database
from seckill.redis_client import connect
from seckill_project.config import BASE_DIR, Server, load


class Command(BaseCommand):
    """Own services, measure, show, remove them."""

    help = (
        "Measure each stage on fresh embedded services beside everything else on this machine: "
        "winners decided from a backlog with each Kafka client, rows stored, memory, idle CPU. "
        "Prints no rate when the audit of the run is not clean, and exits 1."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Size and form."""
        parser.add_argument(
            "--requests", type=int, default=500_000, help="backlog (default: %(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="the figures as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code 1 when the audit is not clean."""
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        console = Console(stderr=options["json"], soft_wrap=True, highlight=False)
        about = machine()
        with tempfile.TemporaryDirectory(prefix="seckill-bench-") as folder:
            stack = Stack(Path(folder) / "services")
            crew = None
            try:
                with readable_errors():
                    endpoints = stack.up(console.print, owner_pid=os.getpid())
                    environment = worker_environment(endpoints.as_env())
                    crew = Crew(BASE_DIR, Path(folder) / "logs", environment)
                    use_database(endpoints.pg_dsn)
                    prepare_database()
                    server = load(Server, environ=environment)
                    client = connect(endpoints.redis_url)
                    figures = Bench(server, client, crew, options["requests"], console.print).run()
            except AuditFailed as failed:
                raise CommandError(f"no figures, the audit failed: {failed}") from None
            except DevstackError as wrong:
                raise CommandError(str(wrong), returncode=exit_codes.UNREACHABLE) from None
            finally:
                if crew is not None:
                    crew.stop()
                stack.remove()
        if options["json"]:
            json.dump({"machine": about, "figures": [asdict(f) for f in figures]}, sys.stdout)
            self.stdout.write("")
            return
        console.print(_table(figures, about))


def _table(figures: list[Figure], about: dict[str, Any]) -> Table:
    table = Table(
        title=f"{about['cores']} cores, {about['memory_gb']} GB, load {about['load_before']}",
        title_justify="left",
    )
    for name, justify in (("figure", "left"), ("value", "right"), ("goal", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for figure in figures:
        goal = ""
        if figure.goal is not None:
            mark = "[green]reached" if figure.reached else "[red]missed"
            goal = f"{'under' if figure.most else 'over'} {figure.goal:,.0f} {mark}"
        number = f"{figure.value:,.1f}" if figure.value < 100 else f"{figure.value:,.0f}"
        table.add_row(figure.name, f"{number} {figure.unit}", goal)
    return table
