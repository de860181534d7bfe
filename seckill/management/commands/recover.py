"""`manage.py recover`: rebuild Redis after a loss, from PostgreSQL, the list and Kafka."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.table import Table

from seckill import exit_codes
from seckill.audit import CannotCheck
from seckill.audit_totals import snapshot
from seckill.broker.reader import CannotRead, TopicReader
from seckill.broker.topics import Topics
from seckill.console import Console
from seckill.errors import BrokerAway, Refused
from seckill.keys import Lane
from seckill.management.acts import database_errors, shell_actor
from seckill.management.arguments import (
    add_section_flags,
    readable_errors,
    section_flags,
    use_database,
)
from seckill.management.commands.audit import print_report
from seckill.printable import json_text
from seckill.recovery import FROM_KAFKA, recover
from seckill.recovery_plan import Plan, make_plan, postgres_state
from seckill.redis_client import connect
from seckill.stats import read_lane
from seckill_project.config import Server, load

# Rows of a table that are printed; the others are summed up.
ROWS = 30
CHANGES = "[yellow]changes[/yellow]"


@dataclass(frozen=True)
class Topic:
    """What Kafka says of the topic; `missing` says why it says nothing."""

    source: str | None = None
    partitions: list[int] = field(default_factory=list)
    # End offsets.
    ends: dict[int, int] = field(default_factory=dict)
    missing: str = ""


@contextmanager
def _reader(server: Server, *, wanted: bool) -> Iterator[TopicReader | None]:
    """The sale's topic, to be read again; None unless it is wanted."""
    if not wanted:
        yield None
        return
    with TopicReader(server) as reader:
        yield reader


def _fence_now(client: "redis.Redis", lane: Lane) -> str:
    """Whether the sale goes on after a refusal, in words."""
    if read_lane(client, lane).fence is None:
        return "Nothing was changed"
    return "The lane is fenced, and stays so: nothing is decided"


def _refused(why: str) -> CommandError:
    return CommandError(why, returncode=exit_codes.FAILED)


class Command(BaseCommand):
    """Plan, show, and with --apply carry out."""

    help = (
        "After Redis was emptied, restored or failed over (consumers say NOT_LOADED, REWOUND or "
        "FENCED): rebuild it from PostgreSQL, from what is left of the list, and from the parked "
        "records. What was sold stays sold to the same buyers. Without --apply it changes nothing "
        "and prints the plan. With it: all deciding is stopped, Redis is rebuilt, the audit runs, "
        "and the sale goes on only if that is clean. Consumers and log workers may run meanwhile. "
        "--apply needs Kafka, which says where each partition stands. Where PostgreSQL, or the "
        "list in Redis, has lost orders that were accepted, --apply is refused without "
        "--from-kafka, which stores exactly these again from the topic. An allocation is never "
        "raised by itself: where more is sold than was put on sale the fence stays, until a person "
        "says --accept-oversell. Exit codes: 0 planned or done, 1 refused, or the audit is not "
        "clean and the fence stays, 2 wrong command line or configuration, 3 a service could not "
        "be reached."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do, and where the sale is."""
        parser.add_argument("--apply", action="store_true", help="carry the plan out")
        parser.add_argument(
            "--from-kafka",
            action="store_true",
            help="store accepted orders again that PostgreSQL or the list has lost, from the topic",
        )
        parser.add_argument(
            "--accept-oversell",
            action="store_true",
            help="raise an allocation to what is sold, where that is more; journalled",
        )
        parser.add_argument("--json", action="store_true", help="print a JSON object (schema 1)")
        add_section_flags(parser, Server)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        console = Console(soft_wrap=True, highlight=False, stderr=options["json"])
        with readable_errors():
            server = load(Server, section_flags(options, Server))
            use_database(server.pg_dsn)
            lane = Lane()
            topic = look_at_topic(server, with_ends=not options["apply"])
            if topic.missing and options["apply"]:
                raise CommandError(
                    f"refused, nothing was changed: {topic.missing}",
                    returncode=exit_codes.UNREACHABLE,
                )
            with connect(server.redis_url) as client, database_errors():
                if topic.source is None or not options["apply"]:
                    with snapshot():
                        plan = make_plan(client, lane, topic.source, topic.partitions)
                    plan.older = postgres_state(client, lane).older
                    self._show(plan, topic, console, as_json=options["json"])
                    return
                try:
                    with _reader(server, wanted=options["from_kafka"]) as reader:
                        done = recover(
                            client,
                            lane,
                            topic.source,
                            topic.partitions,
                            shell_actor(),
                            console.say,
                            topic=reader,
                            accept_oversell=options["accept_oversell"],
                        )
                except CannotRead as reason:
                    raise _refused(f"refused, nothing was changed: {reason}") from None
                except CannotCheck as reason:
                    raise _refused(
                        f"rebuilt, but not audited: {reason}. The fence stays; run it again"
                    ) from None
                except Refused as refused:
                    raise _refused(f"refused: {refused}. {_fence_now(client, lane)}") from None
        if options["json"]:
            document = {
                "schema": 1,
                "applied": True,
                "generation": done.generation,
                "restored": done.restored,
            }
            self.stdout.write(json_text(document | {"audit": done.report.as_json()}, 2))
        else:
            print_report(done.report, console)
        if not done.lifted:
            self.stderr.write(
                "the audit is not clean, so the fence stays and nothing is decided: "
                "docs/operations.md, audit, says what to do"
            )
            sys.exit(exit_codes.FAILED)

    def _show(self, plan: Plan, topic: Topic, console: Console, *, as_json: bool) -> None:
        if topic.missing:
            plan.notes.append(
                f"{topic.missing}. This plan lacks the partitions that only Kafka knows of"
            )
        if as_json:
            document = {
                "schema": 1,
                "applied": False,
                "needed": plan.needed,
                "postgres_is_older": plan.older,
                "fence": asdict(plan.lane.fence) if plan.lane.fence else None,
                "activities": [
                    {
                        **asdict(activity),
                        "buyers": None if activity.buyers is None else len(activity.buyers),
                    }
                    for activity in plan.activities
                ],
                "partitions": [asdict(partition) for partition in plan.partitions],
                "recovered": plan.recovered,
                "notes": plan.notes,
            }
            self.stdout.write(json_text(document, 2))
            return
        print_plan(plan, topic, console)


def look_at_topic(server: Server, *, with_ends: bool) -> Topic:
    """The topic of the sale, as Kafka has it now."""
    try:
        with Topics(server) as topics:
            source = topics.source(server.topic)
            if source is None:
                return Topic(
                    missing=f"Kafka does not know topic {server.topic}, so nobody can say where "
                    "its partitions stand. Check --topic and --brokers; after a restart of Kafka "
                    "wait some seconds; a topic that is gone for good is made by run_consumer. "
                    "Then run it again"
                )
            partitions = topics.partitions(server.topic)
            ends = topics.end_offsets(server.topic) if with_ends else {}
            return Topic(source, partitions, ends)
    except BrokerAway as away:
        return Topic(
            missing=f"{away}. It says where the partitions stand: bring it back, then run it again"
        )


def print_plan(plan: Plan, topic: Topic, console: Console) -> None:
    """The plan for people."""
    if plan.lane.fence:
        console.say(f"fenced: {plan.lane.fence.word}: {plan.lane.fence.why}")
    if plan.older:
        console.say(f"ATTENTION: {plan.older}")
        console.print(f"  {FROM_KAFKA}")
    if not plan.needed:
        console.print("Redis has what the records prove, and is not fenced: nothing to recover")
        for note in plan.notes:
            console.say(f"  note: {note}")
        return
    table = Table("activity", "item", "allocation", "sold", "left in Redis", "left after", "")
    rows = [(activity, item) for activity in plan.activities for item in activity.items]
    for activity, item in rows[:ROWS]:
        now = "nothing" if item.left_now is None else f"{item.left_now:,}"
        differs = (item.left_now, item.loaded_now) != (item.left, item.loaded)
        table.add_row(
            *(str(activity.activity_id), str(item.item_id), f"{item.loaded:,}"),
            *(
                f"{item.sold:,}",
                now,
                f"{item.left:,}",
                CHANGES if differs else "",
            ),
        )
    console.print(table)
    if len(rows) > ROWS:
        console.print(f"  and {len(rows) - ROWS} more items (--json has all)")
    table = Table("partition", "position in Redis", "position after", "to be decided", "")
    known = [place for place in plan.partitions if topic.source in (None, place.source)]
    for place in known[:ROWS]:
        now = "none" if place.position_now is None else f"{place.position_now:,}"
        differs = place.position_now != place.position
        table.add_row(
            *(str(place.partition), now, f"{place.position:,}"),
            "?"
            if topic.missing
            else f"{max(0, topic.ends.get(place.partition, 0) - place.position):,}",
            CHANGES if differs else "",
        )
    console.print(table)
    for activity in plan.activities:
        state = activity.state
        words = [state.get("over") or "on sale", *(["paused"] if "paused" in state else [])]
        buyers = "" if activity.buyers is None else f", {len(activity.buyers):,} buyers counted"
        console.print(
            f"  activity {activity.activity_id}: {', '.join(words)}; {activity.requests:,} orders "
            f"with {activity.units:,} units stay sold to their buyers{buyers}"
        )
        for change in activity.changes[:ROWS]:
            console.say(f"    {change}")
    console.print(
        f"  records: {plan.lane.waiting:,} in the list, {plan.lane.dead:,} kept apart; all count"
    )
    if plan.recovered > plan.lane.recovered:
        console.print(
            f"  {plan.recovered - plan.lane.recovered:,} requests were decided before the loss and "
            "left no record: they were not accepted, and count as recovered"
        )
    for note in plan.notes:
        console.say(f"  note: {note}")
    console.print("Nothing was changed. Carry it out: manage.py recover --apply")
