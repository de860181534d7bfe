"""`manage.py run_loadgen`: parse, build, run. The load itself is `loadgen.sender`."""

import argparse
import logging
import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from loadgen import fleet
from loadgen.plan import NO_PROFILE, Load, make_load
from loadgen.profile import MAX_REQUESTS
from loadgen.profile_file import names, read_profile
from loadgen.progress import display_for
from loadgen.sender import LEAD_S, run
from seckill.broker.opening import open_producer
from seckill.broker.producer import CONNECT_S, Producer
from seckill.broker.topics import DEFAULT_PARTITIONS, Topics
from seckill.config.layers import load as load_section
from seckill.config.sections import Client
from seckill.errors import BrokerAway, BrokerRefuses
from seckill.formats.outcomes import MAX_ID
from seckill.management import base
from seckill.management.arguments import (
    add_section_flags,
    add_supervision_flag,
    section_flags,
)
from seckill.process import exit_codes
from seckill.process.console import Console, console_on
from seckill.process.logs import configure_logging, speaker
from seckill.process.shutdown import Shutdown
from seckill.process.startup import Stopped, wait_for
from seckill.telemetry.tracing import traced_producer

# How many characters of a body --dry-run shows.
SHOWN = 300


def _whole(lowest: int, highest: int) -> Any:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = lowest - 1
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {lowest}..{highest}")
        return number

    return parse


class Command(base.Command):
    """Plays the buyers."""

    help = (
        "Send purchase requests to Kafka in an open loop: the rate does not drop for a slow "
        "system. Without a profile each of user_count users comes once, in shuffled order. --delay "
        "lowers the rate: at most 1000/delay requests/s are sent. With a profile, --rate scales "
        "its curve to this highest rate."
    )
    examples = (
        "--rate 20000 --user-count 200000",
        "--profile rush --requests 100000 --seed 7",
        "--dry-run 3              # three bodies, without Kafka",
    )
    codes = {
        **base.AWAY,
        exit_codes.OK: "everything that was sent is in Kafka, or stopped by a signal",
        exit_codes.FAILED: "something that was sent is not in Kafka",
    }
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Section `client`, and the flags of one run."""
        parser.add_argument(
            "--profile", metavar="NAME", help="a profile from --list-profiles, or a YAML file"
        )
        parser.add_argument(
            "--list-profiles", action="store_true", help="list the included profiles and exit"
        )
        parser.add_argument(
            "--requests",
            type=_whole(1, MAX_REQUESTS),
            metavar="N",
            help="requests in total (default: the profile's, or one for each user)",
        )
        parser.add_argument(
            "--seed",
            type=_whole(0, MAX_ID),
            metavar="N",
            help="the same seed gives the same requests (default: the profile's, or a new one)",
        )
        parser.add_argument(
            "--processes",
            type=_whole(1, 64),
            default=1,
            metavar="N",
            help="send from N processes, for rates that one cannot reach; the same seed and the "
            "same N give the same requests (default: %(default)s)",
        )
        parser.add_argument(
            "--partitions",
            type=_whole(1, 1000),
            default=DEFAULT_PARTITIONS,
            metavar="N",
            help="partitions of the topic if it must be created (default: %(default)s)",
        )
        parser.add_argument(
            "--dry-run",
            type=_whole(1, 1_000_000),
            metavar="N",
            help="print the first N bodies, without Kafka",
        )
        parser.add_argument("--json", action="store_true", help="the report as one line of JSON")
        parser.add_argument("--quiet", action="store_true", help="no progress, only the report")
        add_supervision_flag(parser)
        add_section_flags(parser, Client)

    def handle(self, **options: Any) -> None:
        """Exit code as in `exit_codes`; the report goes to stdout, the progress to stderr."""
        if options["list_profiles"]:
            for name in names():
                self.stdout.write(f"{name:<10} {read_profile(name).description}")
            return
        client = load_section(Client, section_flags(options, Client))
        load = self._load(client, options)
        if options["dry_run"]:
            self._show(load, options["dry_run"])
            return
        code = self._run(client, load, options)
        if code:
            raise SystemExit(code)

    def _load(self, client: Client, options: dict[str, Any]) -> Load:
        """The load. A flag overrides the profile; environment and file do not."""
        name = options["profile"]
        if name is None:
            profile, name = None, NO_PROFILE
        else:
            profile = read_profile(name)
        return make_load(
            client,
            profile,
            name,
            requests=options["requests"],
            users=client.user_count if options["user_count"] is not None else None,
            peak_rate=client.rate if options["rate"] is not None else None,
            seed=options["seed"],
        )

    def _show(self, load: Load, count: int) -> None:
        now_ms = int(time.time() * 1000)
        buyers = load.buyers()
        for number in range(min(count, load.requests)):
            [body] = buyers.draw([now_ms + int(load.pacer.intended(number) * 1000)])
            if body is None:
                self.stdout.write("(null value: a tombstone)")
                continue
            more = f" ... ({len(body):,} bytes)" if len(body) > SHOWN else ""
            self.stdout.write(body[:SHOWN].decode(errors="backslashreplace") + more)

    def _run(self, client: Client, load: Load, options: dict[str, Any]) -> int:
        console = Console(stderr=True)
        # kafka-python logs four lines for each failed attempt to connect; we log one.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        partitions: int = options["partitions"]
        processes: int = options["processes"]
        configure_logging(client.log_format)
        # Progress is drawn for people.
        quiet = options["quiet"] or client.log_format == "json"

        say_json = speaker(self.stderr, client.log_format, "run_loadgen")

        def say(line: str) -> None:
            if client.log_format == "json":
                say_json(line)
            else:
                console.print(line, markup=False, highlight=False, soft_wrap=True)

        def open_it() -> Producer | None:
            # One attempt must not take longer than --connect-timeout-s.
            attempt_s = min(CONNECT_S, max(client.connect_timeout, 1.0))
            with Topics(client, bootstrap_timeout_s=attempt_s) as topics:
                if topics.ensure(client.topic, partitions):
                    say(
                        f"topic {client.topic} did not exist and was created: "
                        f"{partitions} partitions"
                    )
            if processes > 1:
                return None
            return traced_producer(open_producer(client, client.topic), client)

        with Shutdown() as shutdown:
            if options["stop_with_stdin"]:
                shutdown.watch_stdin()
            try:
                producer = wait_for(open_it, client.connect_timeout, shutdown, say)
            except Stopped:
                say("stopped before anything was sent")
                return exit_codes.OK
            except BrokerRefuses:
                raise
            except BrokerAway as away:
                raise CommandError(
                    f"{away}. Nothing was sent. Start Kafka, or name another one with --brokers",
                    returncode=exit_codes.UNREACHABLE,
                ) from None
            try:
                with display_for(console, quiet) as display:
                    if producer is None:
                        report = fleet.run(client, load, processes, shutdown, display)
                    else:
                        report = run(
                            load,
                            producer,
                            shutdown,
                            display,
                            topic=client.topic,
                            start_at=time.time() + LEAD_S,
                        )
            finally:
                if producer is not None:
                    producer.close()
        if options["json"]:
            self.stdout.write(report.as_json())
        else:
            report.print_table(console_on(self.stdout))
            self.stdout.write("For a report of the sale, once it is decided: manage.py report")
        return exit_codes.OK if report.complete or report.stopped else exit_codes.FAILED
