"""`manage.py recover`: rebuild Redis after a loss, from PostgreSQL, the list and Kafka."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import redis
from django.core.management.base import CommandError, CommandParser
from rich.table import Table

from seckill.audit.audit import CannotCheck
from seckill.broker.reader import CannotRead, TopicReader
from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import Server, Settler
from seckill.errors import BrokerAway, Refused
from seckill.formats.advice import in_lane
from seckill.formats.settle import settle_topic
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.management import base
from seckill.management.acts import shell_actor
from seckill.management.arguments import (
    KAFKA_FLAGS,
    STORE_FLAGS,
    add_address_flags,
    add_lane_flag,
    section_flags,
    use_database,
)
from seckill.management.commands.audit import print_report
from seckill.postgres.through_django import snapshot
from seckill.process import exit_codes
from seckill.process.columns import Fitted
from seckill.process.console import Console
from seckill.process.printable import json_text
from seckill.recovery.plan import Plan, make_plan, postgres_state
from seckill.recovery.rebuild import FROM_KAFKA, recover

# How many rows of a table are printed; the others are only counted.
ROWS = 30
CHANGES = "[yellow]changes[/yellow]"
CARRY_OUT = "Nothing was changed. To carry out the plan: manage.py recover --apply"


@dataclass(frozen=True)
class Topic:
    """The topic as Kafka reports it. `missing` says why there is no such report."""

    source: str | None = None
    partitions: list[int] = field(default_factory=list)
    # End offsets.
    ends: dict[int, int] = field(default_factory=dict)
    missing: str = ""


@contextmanager
def _reader(server: Server, topic: str, *, wanted: bool) -> Iterator[TopicReader | None]:
    """A reader of a topic; None unless it is wanted."""
    if not wanted:
        yield None
        return
    with TopicReader(server.model_copy(update={"topic": topic})) as reader:
        yield reader


def _fence_now(client: "redis.Redis", lane: Lane) -> str:
    """What a refusal means for the sale, in words."""
    if read_lane(client, lane).fence is None:
        return "Nothing was changed"
    return "The lane stays fenced: nothing is decided"


def _refused(why: str) -> CommandError:
    return CommandError(why, returncode=exit_codes.FAILED)


class Command(base.Command):
    """Plan, show, and with --apply carry out."""

    help = (
        "Rebuild Redis after it was emptied, restored or failed over (consumers report NOT_LOADED, "
        "REWOUND or FENCED). It uses PostgreSQL, the rest of the list and the parked records. Sold "
        "units stay sold to the same buyers. Without --apply it changes nothing and prints the "
        "plan. With --apply it stops all decisions, rebuilds Redis and runs the audit; the sale "
        "continues only if the audit is clean. Consumers and log workers may keep running. --apply "
        "needs Kafka for the state of each partition. If PostgreSQL or the list in Redis has lost "
        "accepted orders, --apply is refused without --from-kafka, which stores exactly these "
        "orders again from the topic. Allocations are never raised automatically: if more is sold "
        "than was put on sale, the fence stays until somebody runs it with --accept-oversell."
    )
    examples = (
        "                 # the plan",
        "--apply",
        "--apply --from-kafka",
    )
    codes = {
        **base.AWAY,
        exit_codes.OK: "planned, or done",
        exit_codes.FAILED: "refused, or the audit is not clean and the fence stays",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do, and where the sale is."""
        parser.add_argument("--apply", action="store_true", help="carry out the plan")
        parser.add_argument(
            "--from-kafka",
            action="store_true",
            help="store accepted orders that PostgreSQL or the list has lost again from the topic",
        )
        parser.add_argument(
            "--accept-oversell",
            action="store_true",
            help="if more is sold than allocated, raise the allocation; the journal records it",
        )
        parser.add_argument("--json", action="store_true", help="print a JSON object (schema 1)")
        add_lane_flag(parser)
        add_address_flags(parser, *STORE_FLAGS, *KAFKA_FLAGS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        console = Console(soft_wrap=True, highlight=False, stderr=options["json"])
        server = load(Server, section_flags(options, Server), lane=options["lane"])
        gives_back = load(Settler).expired_gives_back
        use_database(server.pg_dsn)
        lane = Lane.named(options["lane"])
        topic = look_at_topic(server, with_ends=not options["apply"])
        if topic.missing and options["apply"]:
            raise CommandError(
                f"refused, nothing was changed: {topic.missing}",
                returncode=exit_codes.UNREACHABLE,
            )
        with connect(server.redis_url) as client:
            if topic.source is None or not options["apply"]:
                with snapshot():
                    plan = make_plan(
                        client,
                        lane,
                        topic.source,
                        topic.partitions,
                        expired_gives_back=gives_back,
                    )
                plan.older = postgres_state(client, lane).older
                self._show(plan, topic, console, lane.name, as_json=options["json"])
                return
            try:
                from_kafka = options["from_kafka"]
                # It exists only where holds were settled.
                settled = from_kafka and bool(read_lane(client, lane).settle_positions)
                with (
                    _reader(server, server.topic, wanted=from_kafka) as reader,
                    _reader(server, settle_topic(server.topic), wanted=settled) as settle_reader,
                ):
                    done = recover(
                        client,
                        lane,
                        topic.source,
                        topic.partitions,
                        shell_actor(),
                        lambda line: console.say(in_lane(line, lane.name)),
                        topic=reader,
                        settle_topic=settle_reader,
                        accept_oversell=options["accept_oversell"],
                        expired_gives_back=gives_back,
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
                "the audit is not clean, so the fence stays and nothing is decided; for what to do "
                "see docs/operations.md, audit"
            )
            sys.exit(exit_codes.FAILED)

    def _show(
        self, plan: Plan, topic: Topic, console: Console, lane: str, *, as_json: bool
    ) -> None:
        if topic.missing:
            plan.notes.append(f"{topic.missing}. This plan lacks partitions that only Kafka knows")
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
                "settle_partitions": [asdict(place) for place in plan.settle_partitions],
                "recovered": plan.recovered,
                "notes": plan.notes,
            }
            self.stdout.write(json_text(document, 2))
            return
        print_plan(plan, topic, console, lane)


def look_at_topic(server: Server, *, with_ends: bool) -> Topic:
    """The topic of the sale, as Kafka reports it now."""
    try:
        with Topics(server) as topics:
            source = topics.source(server.topic)
            if source is None:
                return Topic(
                    missing=f"Kafka does not know topic {server.topic}, so the state of its "
                    "partitions is unknown. Check --topic and --brokers; after a restart of Kafka "
                    "wait some seconds; if the topic is gone for good, manage.py run_consumer "
                    "creates it. Then run it again"
                )
            partitions = topics.partitions(server.topic)
            ends = topics.end_offsets(server.topic) if with_ends else {}
            return Topic(source, partitions, ends)
    except BrokerAway as away:
        return Topic(
            missing=f"{away}. It has the state of the partitions: mend that, then run it again"
        )


def print_plan(plan: Plan, topic: Topic, console: Console, lane: str) -> None:
    """Print the plan for people."""
    if plan.lane.fence:
        console.say(f"fenced: {plan.lane.fence.word}: {plan.lane.fence.why}")
    if plan.older:
        console.say(in_lane(f"ATTENTION: {plan.older}\n  {FROM_KAFKA}", lane))
    if not plan.needed:
        console.print("Redis matches the records and is not fenced: nothing to recover")
        for note in plan.notes:
            console.say(in_lane(f"  note: {note}", lane))
        return
    table = Table("activity", "item", "allocation", "sold", "left in Redis", "left after", "")
    rows = [(activity, item) for activity in plan.activities for item in activity.items]
    for activity, item in rows[:ROWS]:
        now = "nothing" if item.left_now is None else f"{item.left_now:,}"
        differs = (item.left_now, item.loaded_now) != (item.left, item.loaded)
        table.add_row(
            str(activity.activity_id),
            str(item.item_id),
            f"{item.loaded:,}",
            f"{item.sold:,}",
            now,
            f"{item.left:,}",
            CHANGES if differs else "",
        )
    console.print(Fitted(table, "allocation", "sold"))
    if len(rows) > ROWS:
        console.print(f"  and {len(rows) - ROWS} more items (--json has all)")
    table = Table("partition", "position in Redis", "position after", "to be decided", "")
    known = [place for place in plan.partitions if topic.source in (None, place.source)]
    for place in known[:ROWS]:
        now = "none" if place.position_now is None else f"{place.position_now:,}"
        differs = place.position_now != place.position
        table.add_row(
            str(place.partition),
            now,
            f"{place.position:,}",
            "?"
            if topic.missing
            else f"{max(0, topic.ends.get(place.partition, 0) - place.position):,}",
            CHANGES if differs else "",
        )
    console.print(Fitted(table, "to be decided"))
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
        f"  records: {plan.lane.waiting:,} in the list, {plan.lane.dead:,} dead records; all count"
    )
    if plan.recovered > plan.lane.recovered:
        console.print(
            f"  {plan.recovered - plan.lane.recovered:,} requests were decided before the loss but "
            "have no record: they were not accepted, and count as recovered"
        )
    for note in plan.notes:
        console.say(in_lane(f"  note: {note}", lane))
    console.say(in_lane(CARRY_OUT, lane))
