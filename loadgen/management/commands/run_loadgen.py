"""`manage.py run_loadgen`: parse, build, run. The load itself is `loadgen.sender`, and
`loadgen.http` at a door."""

import argparse
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError, CommandParser

from loadgen import fleet
from loadgen.http.clicks import Clicks, shown
from loadgen.http.loop import DoorAway
from loadgen.http.report import Report as DoorReport
from loadgen.http.run import look_at_door
from loadgen.http.run import run as click
from loadgen.parts import open_targets, read_targets
from loadgen.plan import NO_PROFILE, Load, make_load
from loadgen.profile import MAX_REQUESTS
from loadgen.profile_file import names, read_profile
from loadgen.progress import DOOR, display_for
from loadgen.report import Report
from loadgen.sender import LEAD_S, run
from seckill.broker.producer import CONNECT_S, Producer
from seckill.broker.topics import Topics
from seckill.config.layers import load as load_section
from seckill.config.sections import Client, Door
from seckill.errors import BrokerAway, BrokerRefuses
from seckill.formats.advice import in_lane
from seckill.formats.outcomes import MAX_ID
from seckill.management import base
from seckill.management.arguments import (
    add_lane_flag,
    add_section_flags,
    add_supervision_flag,
    section_flags,
)
from seckill.process import exit_codes
from seckill.process.console import Console, console_on
from seckill.process.logs import configure_logging, speaker
from seckill.process.shutdown import Shutdown
from seckill.process.startup import Stopped, wait_for
from seckill.web.door.token_maker import TokenMaker

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


def _beginning(text: str) -> str:
    if not re.fullmatch(r"[\w.-]{1,60}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r}: 1 to 60 letters, digits, '.', '_' or '-'")
    return text


def _door(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the address of a door: scheme (http or https), host and port"
        )
    return text.rstrip("/")


class Command(base.Command):
    """Plays the buyers."""

    help = (
        "Send purchase requests to Kafka in an open loop: the rate does not drop for a slow "
        "system. Without a profile each of user_count users comes once, in shuffled order. --delay "
        "lowers the rate: at most 1000/delay requests/s are sent. With a profile, --rate scales "
        "its curve to this highest rate. With --http, buyers click at a door, and the time to each "
        "answer is measured."
    )
    examples = (
        "--rate 20000 --user-count 200000",
        "--profile rush --requests 100000 --seed 7",
        "--http http://127.0.0.1:3001 --profile hot --rate 500 --answers told.jsonl",
        "--dry-run 3              # three bodies, without Kafka",
    )
    codes = {
        **base.AWAY,
        exit_codes.OK: "everything that was sent is in Kafka, or answered (--http); or stopped by "
        "a signal",
        exit_codes.FAILED: "something that was sent is not in Kafka, or has no answer (--http)",
    }

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
            "--ids",
            type=_beginning,
            metavar="TEXT",
            help="what request ids begin with (default: the seed). The same ids are the same "
            "clicks, which buy once; with other ids the same seed buys again",
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
            metavar="N",
            help="partitions of the topic if it must be created (default: topic_partitions)",
        )
        parser.add_argument(
            "--dry-run",
            type=_whole(1, 1_000_000),
            metavar="N",
            help="print the first N bodies, without Kafka",
        )
        http = parser.add_argument_group(
            "at a buyers' door",
            "The same requests as clicks over HTTP, each with its answer. Tokens are signed with "
            "the first HS256 key of section `door` (SECKILL_BUYER_KEYS=KID:SECRET).",
        )
        http.add_argument(
            "--http", type=_door, metavar="URL", help="address of the door: http://127.0.0.1:3001"
        )
        http.add_argument(
            "--connections",
            type=_whole(1, 1_000_000),
            default=2000,
            metavar="N",
            help="clicks that wait for an answer at one time, each on a connection; more are due, "
            "and late (default: %(default)s)",
        )
        http.add_argument(
            "--answers",
            type=Path,
            metavar="FILE",
            help="write what each click was told, a line of JSON each; compare_answers reads it",
        )
        parser.add_argument(
            "--split",
            action="store_true",
            help="send the requests of a sale that is split over lanes to the part that serves "
            "each user, in the topic of its lane; asks PostgreSQL once",
        )
        parser.add_argument("--json", action="store_true", help="the report as one line of JSON")
        parser.add_argument("--quiet", action="store_true", help="no progress, only the report")
        add_lane_flag(parser)
        add_supervision_flag(parser)
        add_section_flags(parser, Client)

    def handle(self, **options: Any) -> None:
        """Exit code as in `exit_codes`; the report goes to stdout, the progress to stderr."""
        if options["list_profiles"]:
            for name in names():
                self.stdout.write(f"{name:<10} {read_profile(name).description}")
            return
        client = load_section(Client, section_flags(options, Client), lane=options["lane"])
        load = self._load(client, options)
        if options["dry_run"]:
            self._show(load, options)
            return
        if options["http"] is None:
            code = self._run(client, load, options)
        else:
            code = self._click(client, load, options)
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
            ids=options["ids"] or "",
        )

    def _show(self, load: Load, options: dict[str, Any]) -> None:
        count: int = options["dry_run"]
        now_ms = int(time.time() * 1000)
        if options["http"] is not None:
            for line in shown(Clicks(load).draw(min(count, load.requests))):
                self.stdout.write(line[:SHOWN])
            return
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
        partitions: int = options["partitions"] or client.topic_partitions
        processes: int = options["processes"]
        configure_logging(client.log_format)
        # Progress is drawn for people.
        quiet = options["quiet"] or client.log_format == "json"

        say = self._speaker(console, client)
        targets = None
        if options["split"]:
            targets = read_targets(list(load.profile.activities), options["lane"])

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
            return open_targets(client, targets)

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
                        report = fleet.run(client, load, processes, shutdown, display, targets)
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
        return self._told(report, options)

    def _click(self, client: Client, load: Load, options: dict[str, Any]) -> int:
        door: str = options["http"]
        if options["split"]:
            raise CommandError(
                "--split is for Kafka: a door knows by itself which part serves a buyer",
                returncode=exit_codes.USAGE,
            )
        if options["processes"] > 1:
            raise CommandError(
                "--processes is for Kafka; with --http start the command several times, with "
                "profiles of different buyers (first_user)",
                returncode=exit_codes.USAGE,
            )
        tokens = TokenMaker.of(load_section(Door))
        console = Console(stderr=True)
        say = self._speaker(console, client)
        quiet = options["quiet"] or client.log_format == "json"
        with Shutdown() as shutdown:
            if options["stop_with_stdin"]:
                shutdown.watch_stdin()
            try:
                wait_for(lambda: look_at_door(door), client.connect_timeout, shutdown, say)
            except Stopped:
                say("stopped before anything was sent")
                return exit_codes.OK
            except DoorAway as away:
                raise CommandError(
                    f"{away}. Nothing was sent. Start it (manage.py run_door), or name another "
                    "one with --http",
                    returncode=exit_codes.UNREACHABLE,
                ) from None
            with display_for(console, quiet, DOOR) as display:
                report = click(
                    load,
                    door,
                    tokens,
                    shutdown,
                    display,
                    connections=options["connections"],
                    answers=options["answers"],
                )
        return self._told(report, options)

    def _speaker(self, console: Console, client: Client) -> Callable[[str], None]:
        say_json = speaker(self.stderr, client.log_format, "run_loadgen")

        def say(line: str) -> None:
            if client.log_format == "json":
                say_json(line)
            else:
                console.print(line, markup=False, highlight=False, soft_wrap=True)

        return say

    def _told(self, report: Report | DoorReport, options: dict[str, Any]) -> int:
        if options["json"]:
            self.stdout.write(report.as_json())
        else:
            report.print_table(console_on(self.stdout))
            told = "For a report of the sale, once it is decided: manage.py report"
            self.stdout.write(in_lane(told, options["lane"]))
        return exit_codes.OK if report.complete or report.stopped else exit_codes.FAILED
