"""Prints the audit's reports: what holds, what does not, the first culprits, what to do."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from seckill.audit.audit import Report
from seckill.audit.checks import INVARIANTS
from seckill.audit.events_kafka import EventsReport
from seckill.audit.kafka import KafkaReport
from seckill.process.columns import Fitted

# How many findings are printed; --json has all.
SHOWN = 10


def print_report(report: Report, console: Console) -> None:
    """Print the verdict, the totals and the findings."""
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
    console.print(Fitted(table))
    for note in report.notes:
        console.print(f"  note: {escape(note)}")
    for finding in report.findings[:SHOWN]:
        what = escape(f"{finding.culprit}: {finding.explanation}")
        console.print(f"[red]{finding.invariant}[/red]: {what}")
        console.print(f"    do: {escape(finding.act)}")
    if len(report.findings) > SHOWN:
        console.print(f"  and {len(report.findings) - SHOWN} more findings (--json has all)")
    verdict = "[green]clean[/green]" if report.clean else "[red]VIOLATED[/red]"
    console.print(f"audit: {verdict} ({report.checks:,} checks)")


def print_kafka_report(report: KafkaReport, console: Console) -> None:
    """Print what was read, partition by partition."""
    console.print(f"topic {report.topic}, source {report.source}, up to the positions:")
    table = Table(box=None, padding=(0, 2))
    columns = ("partition", "position", "requests", "INVALID", "holes", "gone", "records")
    for column in columns:
        table.add_column(column, justify="right")
    for look in report.partitions:
        counts = (look.position, look.requests, look.invalid, look.holes, look.gone, look.records)
        table.add_row(str(look.partition), *(f"{count:,}" for count in counts))
    console.print(Fitted(table))
    for note in report.notes:
        console.print(f"  note: {escape(note)}")
    if report.more_findings:
        console.print(f"  and {report.more_findings:,} more findings in the topic")


def print_events_report(report: EventsReport, console: Console) -> None:
    """Print what was read from the topic of events."""
    gone = f"; {report.gone:,} are gone, so missing ones cannot be told" if report.gone else ""
    console.print(f"topic {report.topic}: {report.events:,} events compared with the rows{gone}")


def _sum(report: Report) -> str:
    return f"{report.units_loaded:,} = {report.units_left:,} + {report.units_sold:,}"
