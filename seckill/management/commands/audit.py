"""`manage.py audit`: prove the invariants, or name the first culprit."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import redis
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from seckill.audit.audit import CannotCheck, Report, audit
from seckill.audit.events_kafka import EventsReport, audit_events
from seckill.audit.kafka import KafkaAudit, KafkaReport, Progress
from seckill.audit.printed import print_events_report, print_kafka_report, print_report
from seckill.audit.sales import split_sales
from seckill.audit.verdict import write_last_audit, write_report
from seckill.audit.watch import Watch, watch_line
from seckill.broker.reader import CannotRead, TopicReader
from seckill.config.layers import lane_addresses, load
from seckill.config.sections import Server
from seckill.errors import RedisAway, ServiceAway
from seckill.formats.lanes import MAIN
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.acts import shell_actor
from seckill.management.arguments import (
    KAFKA_FLAGS,
    STORE_FLAGS,
    add_address_flags,
    add_lane_flag,
    seconds,
    section_flags,
    use_database,
)
from seckill.models import Activity
from seckill.process import exit_codes
from seckill.process.console import Console
from seckill.process.printable import json_text
from seckill.process.shutdown import Shutdown

# Default seconds between two audits of --watch.
WATCH_S = 5.0
# Seconds between two updates of the progress on a terminal.
PROGRESS_S = 0.2
# Why an audit has no verdict.
COULD_NOT = (CannotCheck, CannotRead, ServiceAway, DatabaseError)
# What one audit has read; without --kafka the report alone.
Looks = tuple[Report, KafkaReport | None, EventsReport | None]
# What is summed up over lanes.
SUMMED = ("activities", "messages", "units_loaded", "units_left", "units_sold", "records_stored")


class Command(base.Command):
    """Audit, print, keep the verdict in Redis, exit with it."""

    help = (
        "Check the invariants in Redis and PostgreSQL, and with --kafka in the topic too: never "
        "oversold, never lost, never twice, never a silent drop. Safe during a running sale. "
        "--watch ends with 0 on Ctrl-C or SIGTERM after at least one clean audit, with 1 at the "
        "first violation."
    )
    examples = (
        "",
        "--all                  # every lane of config.yaml",
        "--kafka --json > audit.json",
        "--watch 5              # beside a sale; Ctrl-C ends it",
    )
    codes = {
        exit_codes.OK: "clean",
        exit_codes.FAILED: "violated: the first culprit is named",
        exit_codes.USAGE: "could not check, wrong command line or configuration",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """What to check, how to print it, and addresses."""
        parser.add_argument("--json", action="store_true", help="print JSON (schema 1)")
        parser.add_argument(
            "--kafka",
            action="store_true",
            help="read the topic too: compare every record with its message, count every message",
        )
        parser.add_argument(
            "--watch",
            nargs="?",
            const=WATCH_S,
            type=seconds,
            metavar="SECONDS",
            help=f"repeat the audit, one line each (default: every {WATCH_S:.0f} s)",
        )
        add_lane_flag(parser)
        parser.add_argument(
            "--all", action="store_true", help="audit every configured lane, and sum them up"
        )
        add_address_flags(parser, *STORE_FLAGS, *KAFKA_FLAGS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        if options["watch"] and options["kafka"]:
            raise CommandError(
                "--kafka reads the whole topic each time: use it without --watch",
                returncode=exit_codes.USAGE,
            )
        of_one = ("watch", "redis_url", "topic")
        if options["all"] and (options["lane"] != MAIN or any(options[name] for name in of_one)):
            raise CommandError(
                "--all is for every lane as it is configured: use it without --lane, --watch, "
                "--redis-url and --topic",
                returncode=exit_codes.USAGE,
            )
        section = load(Server, section_flags(options, Server), lane=options["lane"])
        use_database(section.pg_dsn)
        self.json = options["json"]
        self.console = Console(soft_wrap=True, highlight=False)
        if options["all"]:
            self._every_lane(options)
            return
        self.lane = Lane.named(options["lane"])
        with connect(section.redis_url) as self.client:
            if options["watch"]:
                self._watch(options["watch"])
            else:
                self._look(section, options)

    def _every_lane(self, options: dict[str, Any]) -> None:
        """Every lane in turn, then the sum. One that cannot be checked does not hide the others."""
        reports: dict[str, Report] = {}
        unchecked: dict[str, str] = {}
        for name in lane_addresses(""):
            section = load(Server, section_flags(options, Server), lane=name)
            self.lane, kafka, events = Lane.named(name), None, None
            with connect(section.redis_url) as self.client:
                try:
                    reports[name], kafka, events = self._audit(section, options)
                except COULD_NOT as reason:
                    if isinstance(reason, CannotCheck) and _unused(name):
                        reports[name] = Report(notes=["nothing was put on sale in it yet"])
                    else:
                        unchecked[name] = _line_of(reason)
                if name in unchecked:
                    with self._kept():
                        by = f"{shell_actor()} (audit)"
                        write_last_audit(self.client, None, 0, unchecked[name], by, self.lane)
            if self.json:
                continue
            self.console.say(f"lane {name}")
            if name in unchecked:
                self.console.say(f"could not check: {unchecked[name]}")
                continue
            if kafka is not None:
                print_kafka_report(kafka, self.console)
            if events is not None:
                print_events_report(events, self.console)
            print_report(reports[name], self.console)
        clean = all(report.clean for report in reports.values()) and not unchecked
        sums = {name: sum(getattr(each, name) for each in reports.values()) for name in SUMMED}
        sales = split_sales(reports)
        if self.json:
            shown = {name: report.as_json() for name, report in reports.items()}
            document = {"schema": 1, "clean": clean, **sums, "lanes": shown, "reasons": unchecked}
            document["sales"] = [asdict(sale) for sale in sales]
            self.stdout.write(json_text(document, 2))
        else:
            for sale in sales:
                self.console.say(sale.line())
            told = ", ".join(f"{name.replace('_', ' ')} {sums[name]:,}" for name in SUMMED)
            verdict = "clean" if clean else "VIOLATED, or not checked"
            self.console.say(f"all {len(reports) + len(unchecked)} lanes: {verdict}; {told}")
        if any(not report.clean for report in reports.values()):
            sys.exit(exit_codes.FAILED)
        if unchecked:
            sys.exit(exit_codes.USAGE)

    def _audit(self, section: Server, options: dict[str, Any]) -> Looks:
        """One look at this lane, and its verdict kept. Raises COULD_NOT."""
        report = audit(self.client, self.lane)
        kafka = self._read_kafka(section) if options["kafka"] else None
        events = audit_events(section, self.lane) if options["kafka"] else None
        for more in (kafka, events):
            if more is not None:
                report.findings += more.findings
                report.checks += more.checks
        if kafka is not None:
            report.clean = not report.findings
        self._keep(report, "audit --kafka" if kafka else "audit")
        return report, kafka, events

    def _look(self, section: Server, options: dict[str, Any]) -> None:
        try:
            report, kafka, events = self._audit(section, options)
        except COULD_NOT as reason:
            self._could_not(_line_of(reason))
        if self.json:
            document = {**report.as_json(), "kafka": kafka.as_json() if kafka else None}
            document["events"] = events.as_json() if events else None
            self.stdout.write(json_text(document, 2))
        else:
            if kafka is not None:
                print_kafka_report(kafka, self.console)
            if events is not None:
                print_events_report(events, self.console)
            print_report(report, self.console)
        if not report.clean:
            sys.exit(exit_codes.FAILED)

    def _read_kafka(self, section: Server) -> KafkaReport:
        with TopicReader(section) as topic, self._progress() as progress:
            return KafkaAudit(self.client, topic, self.lane, progress=progress).run()

    @contextmanager
    def _progress(self) -> Iterator[Progress]:
        """Shows how much has been read, on stderr if it is a terminal."""
        told_at = 0.0

        def tell(done: int, total: int) -> None:
            nonlocal told_at
            if time.monotonic() - told_at > PROGRESS_S:
                sys.stderr.write(f"\rreading Kafka: {done:,} of {total:,} messages")
                sys.stderr.flush()
                told_at = time.monotonic()

        if not sys.stderr.isatty():
            yield lambda done, total: None
            return
        try:
            yield tell
        finally:
            sys.stderr.write("\r\033[K")

    def _watch(self, interval_s: float) -> None:
        with Shutdown() as shutdown:
            watch = Watch(
                lambda: audit(self.client, self.lane), shutdown, interval_s, self._tell_look
            )
            watch.run()
        if watch.violated is not None:
            self._keep(watch.violated, "audit --watch")
            if self.json:
                self._line({"schema": 1, "at": _now(), **watch.violated.as_json()})
            else:
                print_report(watch.violated, self.console)
            sys.exit(exit_codes.FAILED)
        if not watch.looks:
            sys.exit(exit_codes.USAGE)

    def _tell_look(self, report: Report | None, reason: str) -> None:
        if report is not None:
            self._keep(report, "audit --watch")
        if self.json:
            told = report.as_json() if report else {"schema": 1, "clean": None, "reason": reason}
            self._line({"at": _now(), **told})
            return
        text = watch_line(report) if report else f"could not check: {reason}; trying again"
        self.stdout.write(f"{_now()} {text}")
        self.stdout.flush()

    def _line(self, document: dict[str, Any]) -> None:
        self.stdout.write(json_text(document))
        self.stdout.flush()

    def _keep(self, report: Report, how: str) -> None:
        """Keep the verdict for desk and metrics, or report why not: Redis may be full."""
        with self._kept():
            write_report(self.client, report, f"{shell_actor()} ({how})", self.lane)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except (RedisAway, redis.RedisError) as away:
            self.stderr.write(f"the verdict could not be kept for the desk: {away}")

    def _could_not(self, reason: str) -> None:
        with self._kept():
            write_last_audit(self.client, None, 0, reason, f"{shell_actor()} (audit)", self.lane)
        if self.json:
            self.stdout.write(json_text({"schema": 1, "clean": None, "reason": reason}))
        raise CommandError(f"could not check: {reason}", returncode=exit_codes.USAGE)


def _unused(lane: str) -> bool:
    return not Activity.objects.filter(lane=lane).exists()


def _line_of(reason: Exception) -> str:
    return str(reason).strip().splitlines()[0]


def _now() -> str:
    return time.strftime("%H:%M:%S")
