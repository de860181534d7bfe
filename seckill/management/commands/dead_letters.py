"""`manage.py dead_letters list | show | replay`: what is parked, why, and another try."""

import argparse
import base64
import itertools
from collections.abc import Iterator
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser

from seckill import exit_codes
from seckill.console import Console
from seckill.errors import Refused
from seckill.keys import Lane
from seckill.management.arguments import readable_errors
from seckill.parked import (
    REQUEST,
    Letter,
    Requests,
    dump,
    is_request,
    pile_records,
    pile_requests,
    read_records,
)
from seckill.parked_report import origin_text, piles_json, print_piles, when_text
from seckill.printable import json_text, printable
from seckill.redis_client import connect
from seckill.replay import Replay
from seckill_project.config import Server, load

# Letters that are shown of each kind, unless told otherwise.
NEWEST = 10
# Lines of a plan that are printed; the rest is only counted.
MOST_LINES = 50


def _letters(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of letters from 1")
    return int(text)


class Command(BaseCommand):
    """Look, or plan and do."""

    help = (
        "What is parked: requests that were INVALID (topic <topic>.dead) and accepted records "
        "that PostgreSQL refused (list seckill:logs:dead). Exit codes: 0 done, 1 refused or not "
        "found, 2 wrong command line or configuration, 3 a service could not be reached."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The three verbs, and addresses."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|show|replay")
        looking = verbs.add_parser("list", help="how many, by reason, and the newest ones")
        looking.add_argument("--newest", type=_letters, default=NEWEST, metavar="N")
        show = verbs.add_parser("show", help="everything of one origin, body included")
        show.add_argument("origin", metavar="SOURCE:PARTITION:OFFSET")
        replay = verbs.add_parser(
            "replay",
            help="try again, after the reason was mended; without --yes only the plan is printed",
        )
        replay.add_argument("origins", nargs="*", metavar="SOURCE:PARTITION:OFFSET")
        replay.add_argument("--requests", action="store_true", help="all that are requests by now")
        replay.add_argument("--records", action="store_true", help="every record")
        replay.add_argument(
            "--again", action="store_true", help="requests that were sent again too"
        )
        replay.add_argument("--yes", action="store_true", help="do it")
        for verb in (looking, show, replay):
            if verb is not replay:
                verb.add_argument("--json", action="store_true", help="print JSON (schema 1)")
            verb.add_argument("--redis-url", metavar="URL", help="Redis or Valkey")
            verb.add_argument("--brokers", metavar="HOST:PORT,...", help="Kafka")
            verb.add_argument("--topic", metavar="NAME", help="topic of the requests")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        with readable_errors():
            names = ("redis_url", "brokers", "topic")
            self.section = load(Server, {name: options[name] for name in names})
            self.client = connect(self.section.redis_url)
            self.lane = Lane()
            try:
                {"list": self._list, "show": self._show, "replay": self._replay}[options["verb"]](
                    options
                )
            finally:
                self.client.close()

    def _list(self, options: dict[str, Any]) -> None:
        requests = pile_requests(self.section, options["newest"])
        records = pile_records(self.client, self.lane, options["newest"])
        topic = self.section.topic
        if options["json"]:
            document = piles_json(requests, records, topic, self.lane)
            self.stdout.write(json_text(document, 2))
        else:
            console = Console(soft_wrap=True, highlight=False)
            print_piles(requests, records, topic, self.lane, self._memory(), console)

    def _memory(self) -> str:
        try:
            memory: dict[str, Any] = self.client.info("memory")
        except redis.RedisError as away:
            return f"unknown: {away}"
        most = memory.get("maxmemory") or 0
        bound = f"{most / 2**20:,.0f} MB" if most else "no maxmemory set"
        return f"{memory['used_memory'] / 2**20:,.0f} MB used, {bound}"

    def _show(self, options: dict[str, Any]) -> None:
        requests = Requests(self.section)
        found = [
            letter
            for letter in itertools.chain(requests.letters(), read_records(self.client, self.lane))
            if letter.origin == options["origin"]
        ]
        if not found:
            raise CommandError(
                f"nothing of {options['origin']} is parked; manage.py dead_letters list names "
                "origins",
                returncode=exit_codes.FAILED,
            )
        if options["json"]:
            letters = [
                {
                    **letter.as_json(letter.origin in requests.replayed),
                    "body_base64": base64.b64encode(letter.body or b"").decode(),
                }
                for letter in found
            ]
            self.stdout.write(json_text({"schema": 1, "letters": letters}, 2))
            return
        for letter in found:
            self.stdout.write(f"{letter.kind} {printable(origin_text(letter))}")
            self.stdout.write(f"  reason: {printable(letter.reason[:400])}")
            if letter.odd:
                self.stdout.write(f"  odd:    {printable(letter.odd)}")
            self.stdout.write(f"  when:   {when_text(letter.at_ms)}")
            if letter.origin in requests.replayed and letter.kind == REQUEST:
                self.stdout.write("  it was sent again already")
            cut = ", only the beginning of it is parked" if letter.cut else ""
            self.stdout.write(f"  body:   {letter.size:,} bytes{cut}")
            for line in dump(letter.body or b""):
                self.stdout.write(f"    {line}")

    def _replay(self, options: dict[str, Any]) -> None:
        wanted = set(options["origins"])
        if not (wanted or options["requests"] or options["records"]):
            raise CommandError(
                "what is to be replayed? Name origins, or --requests, or --records",
                returncode=exit_codes.USAGE,
            )
        requests = Requests(self.section)
        letters: dict[str, Letter] = {}
        still_invalid = 0
        for letter in requests.letters():
            if letter.origin in wanted:
                letters[letter.origin] = letter
            elif options["requests"] and not letter.cut and is_request(letter.body):
                if options["again"] or letter.origin not in requests.replayed:
                    letters[letter.origin] = letter
            else:
                still_invalid += 1
        replay = Replay(
            self.section, self.client, self.lane, requests.replayed, again=options["again"]
        )
        records = self._wanted_records(wanted, every=options["records"])
        done = refused = missing = 0
        lines = itertools.count(1)

        def say(letter: Letter, text: str) -> None:
            if next(lines) <= MOST_LINES:
                line = f"{letter.kind} {origin_text(letter)}: {text[:300]}"
                self.stdout.write(printable(line))

        if options["yes"]:
            done, refused = replay.send_requests(letters.values(), say)
        else:
            for letter in letters.values():
                refused += self._plan(replay, letter, say)
        seen = set(letters)
        for letter in records:
            seen.add(letter.origin)
            try:
                what = replay.check(letter)
                if options["yes"]:
                    replay.move_record(letter)
                    done += 1
                say(letter, what)
            except Refused as why:
                say(letter, f"REFUSED: {why}")
                refused += 1
        missing = len(wanted - seen)
        for origin in sorted(wanted - seen):
            self.stdout.write(f"{printable(origin)}: not parked")
        total = next(lines) - 1
        if total > MOST_LINES:
            self.stdout.write(f"... and {total - MOST_LINES:,} more")
        if options["requests"]:
            self.stdout.write(f"{still_invalid:,} letters still are no request and stay parked")
        if options["yes"]:
            self.stdout.write(f"replayed {done:,}, refused {refused:,}, not found {missing:,}")
        else:
            self.stdout.write(
                f"dry run, nothing was changed: {total - refused:,} would be replayed, "
                f"{refused:,} refused, {missing:,} not found. --yes does it. A request is sent as "
                "a NEW request, which may win units or be refused like any other"
            )
        if refused or missing:
            raise CommandError("not all of it can be replayed", returncode=exit_codes.FAILED)

    def _plan(self, replay: Replay, letter: Letter, say: Any) -> int:
        try:
            say(letter, "would be sent as " + replay.check(letter))
        except Refused as why:
            say(letter, f"REFUSED: {why}")
            return 1
        return 0

    def _wanted_records(self, wanted: set[str], *, every: bool) -> Iterator[Letter]:
        """The oldest first: they are found at once then. What is read is a copy of the list."""
        found = [
            letter
            for letter in read_records(self.client, self.lane)
            if every or letter.origin in wanted
        ]
        return reversed(found)
