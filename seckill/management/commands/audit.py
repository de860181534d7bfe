"""`manage.py audit`: prove the invariants, or name the first culprit."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from rich.console import Console
from rich.table import Table

from seckill import exit_codes
from seckill.audit import CannotCheck, Report, audit
from seckill.audit_checks import INVARIANTS
from seckill.errors import ServiceAway
from seckill.management.arguments import add_connection_flags, readable_errors, use_database
from seckill.redis_client import connect
from seckill_project.config import ControlApi, load


class Command(BaseCommand):
    """Look, print, exit with the verdict."""

    help = (
        "Check the invariants over Redis and PostgreSQL: never oversold, never lost, never twice, "
        "never a silent drop. Safe beside a running sale. Exit codes: 0 clean, 1 violated (the "
        "first culprit is named), 2 could not check."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Output form and addresses."""
        parser.add_argument("--json", action="store_true", help="print a JSON object (schema 1)")
        add_connection_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        with readable_errors():
            settings = load(
                ControlApi, {"redis_url": options["redis_url"], "pg_dsn": options["pg_dsn"]}
            )
            use_database(settings.pg_dsn)
        try:
            report = audit(connect(settings.redis_url))
        except (CannotCheck, ServiceAway, DatabaseError) as reason:
            text = str(reason).strip().splitlines()[0]
            if options["json"]:
                self.stdout.write(json.dumps({"schema": 1, "clean": None, "reason": text}))
            raise CommandError(f"could not check: {text}", returncode=exit_codes.USAGE) from None
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), ensure_ascii=False, indent=2))
        else:
            print_report(report, Console(soft_wrap=True, highlight=False))
        if not report.clean:
            sys.exit(exit_codes.FAILED)


def print_report(report: Report, console: Console) -> None:
    """The report for people."""
    broken = {finding.invariant for finding in report.findings}
    for invariant in INVARIANTS:
        mark = "[red]VIOLATED[/red]" if invariant in broken else "[green]holds[/green]   "
        console.print(f"  {mark}  {invariant}")
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in (
        ("messages decided", f"{report.messages:,}"),
        ("offsets skipped", f"{report.skipped:,}"),
        ("units loaded = left + sold", _sum(report)),
        ("records stored", f"{report.records_stored:,}"),
        ("records waiting in Redis", f"{report.records_waiting:,}"),
        ("records parked", f"{report.records_dead:,}"),
    ):
        table.add_row(name, value)
    console.print(table)
    for note in report.notes:
        console.print(f"  note: {note}")
    for finding in report.findings[:10]:
        console.print(f"[red]{finding.invariant}[/red]: {finding.culprit}: {finding.explanation}")
        console.print(f"    do: {finding.act}")
    if len(report.findings) > 10:
        console.print(f"  and {len(report.findings) - 10} more findings (--json has all)")
    verdict = "[green]clean[/green]" if report.clean else "[red]VIOLATED[/red]"
    console.print(f"audit: {verdict} ({report.checks} checks)")


def _sum(report: Report) -> str:
    return f"{report.units_loaded:,} = {report.units_left:,} + {report.units_sold:,}"
