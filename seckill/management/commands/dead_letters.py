"""`manage.py dead_letters list|show|replay|dismiss`: what is parked and why, and another try."""

import argparse
import base64
import itertools
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q
from django.db.models.functions import Now
from rich.markup import escape

from seckill.config.layers import load
from seckill.config.sections import Server
from seckill.dead_letters.printed import origin_text, piles_json, print_piles, when_text
from seckill.dead_letters.reader import (
    RECORD,
    REQUEST,
    SETTLEMENT,
    DeadTopic,
    Letter,
    dump,
    is_valid,
    pile_messages,
    pile_records,
    read_records,
    tell_parked,
)
from seckill.dead_letters.records import Kind
from seckill.dead_letters.replay import Replay, one_at_a_time
from seckill.errors import Refused
from seckill.events.letters import parked
from seckill.formats.advice import in_lane
from seckill.formats.settle import request_topic, settle_topic
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.acts import refusals, shell_actor
from seckill.management.arguments import (
    KAFKA_FLAGS,
    STORE_FLAGS,
    add_address_flags,
    add_lane_flag,
    section_flags,
    use_database,
)
from seckill.models import DeadRecord
from seckill.process import exit_codes
from seckill.process.console import Console
from seckill.process.printable import json_text, printable

# How many letters of each kind are shown by default.
NEWEST = 10
# How many lines of a plan are printed; the rest are only counted.
MOST_LINES = 50


def _letters(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _records_of(lane: Lane, origin: str) -> Iterator[Letter]:
    """The dead records of an origin; none if the text is not an origin."""
    return read_records(lane, origin) if origin.count(":") == 2 else iter(())


class Command(base.Command):
    """Look, or plan and do."""

    help = (
        "Parked messages and records: INVALID requests (topic <topic>.dead), INVALID settlements "
        "(topic <topic>.settle.dead), and entries of the list that could not be stored (table "
        "seckill_deadrecord), because PostgreSQL refused them, they were not records, or they were "
        "decided on a Redis that did not lead."
    )
    examples = (
        "list --json",
        "show ORIGIN             # as list prints it: SOURCE:PARTITION:OFFSET",
        "replay --requests       # the plan; --yes does it. So does replay --settlements",
        'dismiss --unreadable --note "left by a test"',
    )
    codes = {**base.AWAY, exit_codes.FAILED: "refused, or not found"}

    def add_arguments(self, parser: CommandParser) -> None:
        """The four verbs, and addresses."""
        verbs = base.add_verbs(parser, "verb", metavar="list|show|replay|dismiss")
        looking = verbs.add_parser("list", help="counts by reason, and the newest letters")
        looking.add_argument(
            "--newest", type=_letters, default=NEWEST, metavar="N",
            help="how many letters of each kind to show (default: %(default)s)",
        )  # fmt: skip
        show = verbs.add_parser("show", help="everything about one origin, including the body")
        show.add_argument("origin", metavar="SOURCE:PARTITION:OFFSET", help="as list prints it")
        replay = verbs.add_parser(
            "replay",
            help="try again after the reason was fixed; without --yes only the plan is printed",
        )
        replay.add_argument(
            "origins",
            nargs="*",
            metavar="SOURCE:PARTITION:OFFSET",
            help="as list prints them",
        )
        replay.add_argument(
            "--requests", action="store_true", help="all parked requests that are valid now"
        )
        replay.add_argument(
            "--settlements", action="store_true", help="all parked settlements that are valid now"
        )
        replay.add_argument("--records", action="store_true", help="every record")
        replay.add_argument(
            "--again", action="store_true", help="also messages that were already sent again"
        )
        replay.add_argument("--yes", action="store_true", help="do it")
        dismiss = verbs.add_parser(
            "dismiss", help="mark dead records as settled by hand: they raise no alarm any more"
        )
        dismiss.add_argument(
            "numbers",
            nargs="*",
            type=_letters,
            metavar="NUMBER",
            help="as list prints them",
        )
        dismiss.add_argument(
            "--unreadable", action="store_true", help="all entries that are not records"
        )
        dismiss.add_argument(
            "--overlap", action="store_true", help="all records of a Redis that did not lead"
        )
        dismiss.add_argument("--note", required=True, help="what was done about them")
        for verb in (looking, show, replay, dismiss):
            base.add_json_flag(verb)
            add_lane_flag(verb)
            add_address_flags(verb, *STORE_FLAGS, *KAFKA_FLAGS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        section = load(Server, section_flags(options, Server), lane=options["lane"])
        requests = request_topic(section.topic)
        self.section = section.model_copy(update={"topic": requests})
        self.settlements = section.model_copy(update={"topic": settle_topic(requests)})
        use_database(self.section.pg_dsn)
        self.client = connect(self.section.redis_url)
        self.lane = Lane.named(options["lane"])
        verbs = {
            "list": self._list,
            "show": self._show,
            "replay": self._replay,
            "dismiss": self._dismiss,
        }
        try:
            with refusals():
                verbs[options["verb"]](options)
        finally:
            self.client.close()

    def _dismiss(self, options: dict[str, Any]) -> None:
        kinds = [kind for kind in ("unreadable", "overlap") if options[kind]]
        if not (options["numbers"] or kinds):
            raise CommandError(
                "give numbers (manage.py dead_letters list shows them), --unreadable or --overlap",
                returncode=exit_codes.USAGE,
            )
        wanted = DeadRecord.objects.filter(dismissed_at=None).filter(
            Q(pk__in=options["numbers"]) | Q(kind__in=kinds)
        )
        done = wanted.update(
            dismissed_at=Now(), dismissed_by=shell_actor(), note=options["note"][:500]
        )
        tell_parked(self.client, self.lane)
        if options["json"]:
            self.print_json({"schema": 1, "dismissed": done})
        else:
            self.stdout.write(f"dismissed {done:,}")
        if done < len(set(options["numbers"])):
            raise CommandError(
                "some of these numbers do not exist or were dismissed before",
                returncode=exit_codes.FAILED,
            )

    def _list(self, options: dict[str, Any]) -> None:
        newest = options["newest"]
        piles = (
            pile_messages(self.section, newest),
            pile_messages(self.settlements, newest),
            pile_records(self.lane, newest),
        )
        topic, events = parked(self.section)
        if options["json"]:
            document = {**piles_json(*piles), "events": {"topic": topic, "letters": events}}
            self.stdout.write(json_text(document, 2))
            return
        console = Console(soft_wrap=True, highlight=False)
        print_piles(*piles, console)
        if events:
            again = "  manage.py run_webhooks --dead-letters posts them again"
            console.print(
                f"[bold]events that no webhook took, in topic {escape(topic)}[/bold]: {events:,}, "
                "those posted again since included\n" + in_lane(again, self.lane.name)
            )

    def _show(self, options: dict[str, Any]) -> None:
        topics = [DeadTopic(self.section), DeadTopic(self.settlements)]
        letters = itertools.chain(
            *(topic.letters() for topic in topics), _records_of(self.lane, options["origin"])
        )
        found = [letter for letter in letters if letter.origin == options["origin"]]
        if not found:
            raise CommandError(
                f"nothing from {options['origin']} is parked; manage.py dead_letters list shows "
                "origins",
                returncode=exit_codes.FAILED,
            )
        replayed = set().union(*(topic.replayed for topic in topics))
        if options["json"]:
            shown = [
                {
                    **letter.as_json(letter.origin in replayed),
                    "body_base64": base64.b64encode(letter.body or b"").decode(),
                }
                for letter in found
            ]
            self.stdout.write(json_text({"schema": 1, "letters": shown}, 2))
            return
        for letter in found:
            self.stdout.write(f"{letter.kind} {printable(origin_text(letter))}")
            self.stdout.write(f"  reason: {printable(letter.reason[:400])}")
            if letter.odd:
                self.stdout.write(f"  odd:    {printable(letter.odd)}")
            self.stdout.write(f"  when:   {when_text(letter.at_ms)}")
            if letter.origin in replayed and letter.kind != RECORD:
                self.stdout.write("  it was already sent again")
            cut = ", only the start is parked" if letter.cut else ""
            self.stdout.write(f"  body:   {letter.size:,} bytes{cut}")
            for line in dump(letter.body or b""):
                self.stdout.write(f"    {line}")

    def _replay(self, options: dict[str, Any]) -> None:
        every = ("requests", "settlements", "records")
        if not (options["origins"] or any(options[name] for name in every)):
            raise CommandError(
                "give origins, --requests, --settlements or --records",
                returncode=exit_codes.USAGE,
            )
        with one_at_a_time():
            self._replay_wanted(options)

    def _replay_wanted(self, options: dict[str, Any]) -> None:
        wanted = set(options["origins"])
        every = {REQUEST: options["requests"], SETTLEMENT: options["settlements"]}
        seen: set[str] = set()
        still_invalid = 0
        replays: list[tuple[Replay, list[Letter]]] = []
        for section in (self.section, self.settlements):
            dead = DeadTopic(section)
            letters: dict[str, Letter] = {}
            for letter in dead.letters():
                if letter.origin in wanted:
                    letters[letter.origin] = letter
                elif not every[letter.kind]:
                    continue
                elif not is_valid(letter):
                    still_invalid += 1
                elif options["again"] or letter.origin not in dead.replayed:
                    letters[letter.origin] = letter
            replay = Replay(section, self.client, self.lane, dead.replayed, again=options["again"])
            replays.append((replay, list(letters.values())))
            seen |= letters.keys()
        records = self._wanted_records(wanted, every=options["records"])
        done = refused = missing = 0
        told: list[tuple[Letter, str]] = []

        def say(letter: Letter, text: str) -> None:
            told.append((letter, text))
            if len(told) <= MOST_LINES and not options["json"]:
                line = f"{letter.kind} {origin_text(letter)}: {text[:300]}"
                self.stdout.write(printable(line))

        for replay, chosen in replays:
            if options["yes"]:
                sent, not_sent = replay.send_messages(chosen, say)
                done, refused = done + sent, refused + not_sent
            else:
                refused += sum(self._plan(replay, letter, say) for letter in chosen)
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
        total = len(told)
        if options["json"]:
            self.print_json(
                {
                    "schema": 1,
                    "applied": options["yes"],
                    "letters": [
                        {"kind": letter.kind, "origin": letter.origin, "said": text}
                        for letter, text in told
                    ],
                    "replayed": done,
                    "refused": refused,
                    "missing": sorted(wanted - seen),
                    "still_invalid": still_invalid,
                }
            )
            if refused or missing:
                raise SystemExit(exit_codes.FAILED)
            return
        for origin in sorted(wanted - seen):
            self.stdout.write(f"{printable(origin)}: not parked")
        if total > MOST_LINES:
            self.stdout.write(f"... and {total - MOST_LINES:,} more")
        if options["requests"] or options["settlements"]:
            self.stdout.write(f"{still_invalid:,} letters are still INVALID and stay parked")
        if options["yes"]:
            self.stdout.write(f"replayed {done:,}, refused {refused:,}, not found {missing:,}")
        else:
            self.stdout.write(
                f"dry run, nothing was changed: {total - refused:,} would be replayed, "
                f"{refused:,} refused, {missing:,} not found. --yes does it. A message is sent as "
                "a NEW one: a request may win units or be refused, a settlement may come too late"
            )
        if refused or missing:
            raise CommandError("not everything can be replayed", returncode=exit_codes.FAILED)

    def _plan(self, replay: Replay, letter: Letter, say: Any) -> int:
        try:
            say(letter, "would be sent as " + replay.check(letter))
        except Refused as why:
            say(letter, f"REFUSED: {why}")
            return 1
        return 0

    def _wanted_records(self, wanted: set[str], *, every: bool) -> Iterator[Letter]:
        """The oldest first."""
        found = [
            letter
            for letter in read_records(self.lane)
            if letter.origin in wanted or (every and letter.open and letter.dead != Kind.OVERLAP)
        ]
        return reversed(found)
