"""`manage.py seasons list|partition|begin|archive`: orders of many years, by season."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.table import Table

from seckill.broker.topics import open_topics
from seckill.config.layers import lane_addresses, lane_names, load
from seckill.config.sections import Server
from seckill.errors import Refused
from seckill.formats.lanes import MAIN
from seckill.formats.settle import request_topic
from seckill.lane.client import connect as connect_redis
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.management import base
from seckill.management.acts import CODES, refusals, shell_actor
from seckill.management.arguments import (
    KAFKA_FLAGS,
    STORE_FLAGS,
    add_address_flags,
    add_lane_flag,
    section_flags,
)
from seckill.postgres.access import connect, postgres_errors
from seckill.postgres.seasons import ANSWER_S, is_partitioned, read_seasons
from seckill.process.console import console_on
from seckill.seasons.archive import Archive
from seckill.seasons.begin import begin
from seckill.seasons.partition import partition
from seckill.seasons.tables import owners_connection

# Columns if there is no terminal.
PLAIN_WIDTH = 160


class Command(base.Command):
    """Look, or change the table of orders."""

    help = (
        "Orders of many years: the table of orders in partitions, one for each topic. Nobody needs "
        "it: a sale never asks for it. `partition` makes today's table the first partition, beside "
        "a running sale and without a copy. `begin` makes the partition of a new topic, before its "
        "first order. `archive` exports the partition of a season that is over, and takes it away. "
        "All three need the role that owns the tables."
    )
    examples = (
        "list",
        "partition",
        "begin --topic seckill_requests_2027   # the topic must be there",
        "archive seckill_record_first --to /srv/orders   # the plan; --yes does it",
    )
    codes = CODES

    def add_arguments(self, parser: CommandParser) -> None:
        """The verbs, and addresses."""
        verbs = base.add_verbs(parser, "verb", metavar="list|partition|begin|archive")
        looking = verbs.add_parser("list", help="the partitions: topics, orders, size")
        base.add_json_flag(looking)
        once = verbs.add_parser(
            "partition", help="make today's table the first partition; once, and for good"
        )
        starting = verbs.add_parser("begin", help="make the partition of the lane's topic")
        add_lane_flag(starting)
        ending = verbs.add_parser(
            "archive",
            help="export a partition and take it away; without --yes only the plan is printed",
        )
        ending.add_argument("season", metavar="PARTITION", help="as list prints it")
        ending.add_argument(
            "--to", required=True, type=Path, metavar="FOLDER", help="where its files will be"
        )
        ending.add_argument("--note", default="", help="the reason, for the journal")
        ending.add_argument("--yes", action="store_true", help="do it")
        for verb in (looking, once, ending):
            verb.set_defaults(lane=MAIN)
        for verb in (looking, once, starting, ending):
            add_address_flags(verb, *STORE_FLAGS, *KAFKA_FLAGS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        self.section = load(Server, section_flags(options, Server), lane=options["lane"])
        verbs = {
            "list": self._list,
            "partition": self._partition,
            "begin": self._begin,
            "archive": self._archive,
        }
        with refusals(), postgres_errors():
            verbs[options["verb"]](options)

    def _list(self, options: dict[str, Any]) -> None:
        with connect(self.section.pg_dsn, ANSWER_S, ANSWER_S) as connection:
            partitioned = is_partitioned(connection.cursor())
            seasons = read_seasons(connection.cursor())
        if options["json"]:
            self.print_json(
                {
                    "schema": 1,
                    "partitioned": partitioned,
                    "seasons": [asdict(season) for season in seasons],
                }
            )
            return
        if not partitioned:
            self.stdout.write("the orders are in one table; manage.py seasons partition divides it")
            return
        table = Table("partition", "topics, by Kafka's id", "orders, about", "MB", "")
        for season in seasons:
            table.add_row(
                season.name,
                "\n".join(season.sources),
                f"{season.rows:,}",
                f"{season.size / 1e6:,.0f}",
                "archived" if season.archived else "",
            )
        console = console_on(self.stdout)
        if not console.is_terminal:
            console.width = PLAIN_WIDTH
        console.print(table)

    def _partition(self, options: dict[str, Any]) -> None:
        with owners_connection(self.section.pg_dsn) as connection:
            done = partition(connection, lambda: set(self._sources()), self.stdout.write)
        self.stdout.write(
            f"done: the first partition has {len(done.sources)} topics; nobody waited longer than "
            f"{done.stopped_s:.2f} s. Before another topic has its first order: manage.py seasons "
            "begin"
        )

    def _begin(self, options: dict[str, Any]) -> None:
        topic = request_topic(self.section.topic)
        with open_topics(self.section) as topics:
            source = topics.source(topic)
        if source is None:
            raise Refused(f"there is no topic {topic}: make it first, then its partition")
        with owners_connection(self.section.pg_dsn) as connection:
            made = begin(connection, source, self.stdout.write)
        self.stdout.write(
            f"topic {topic} has the partition {made}" if made else f"topic {topic} has a partition"
        )

    def _archive(self, options: dict[str, Any]) -> None:
        with ExitStack() as ends:
            clients = {
                name: ends.enter_context(connect_redis(address))
                for name, address in lane_addresses(self.section.redis_url).items()
            }
            reading = self._reading()
            connection = ends.enter_context(owners_connection(self.section.pg_dsn))
            archive = Archive(connection, clients, reading, self.stdout.write)
            plan = archive.plan(options["season"])
            if plan.done:
                archive.finish(plan)
                self.stdout.write(f"{plan.season.name} is archived; nothing of it is left in Redis")
                return
            self.stdout.write(
                f"{plan.season.name}: {', '.join(f'{n:,} {what}' for what, n in plan.rows.items())}"
                f", activities {', '.join(map(str, plan.numbers))}"
            )
            if not options["yes"]:
                self.stdout.write(
                    "nothing was changed. --yes exports it, and takes it away for good: its "
                    "activities are history, and no order of its topics is stored any more"
                )
                return
            done = archive.do(plan, options["to"], shell_actor(), options["note"])
        self.stdout.write(
            f"done: {done.manifest} names its files; nobody waited longer than "
            f"{done.stopped_s:.2f} s. When they are safe, this gives the disk back: DROP TABLE "
            f"{plan.season.name}"
        )

    def _reading(self) -> dict[str, str]:
        """{lane: the id of the topic that it reads now}, without those whose topic is not there."""
        found = {}
        with open_topics(self.section) as topics:
            for name in lane_names():
                own = self.section if name == MAIN else load(Server, {}, lane=name)
                source = topics.source(request_topic(own.topic))
                if source is not None:
                    found[name] = source
        return found

    def _sources(self) -> Iterator[str]:
        """Topics whose orders may come: those that the lanes read now, and those of the past."""
        yield from self._reading().values()
        for name, address in lane_addresses(self.section.redis_url).items():
            with connect_redis(address) as client:
                for place in read_lane(client, Lane.named(name)).positions:
                    yield place.rpartition(":")[0]
