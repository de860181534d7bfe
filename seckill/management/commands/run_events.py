"""`manage.py run_events`: publish what became of orders, for shops."""

from typing import Any

import psycopg
from django.core.management.base import CommandParser

from seckill.broker.opening import open_producer
from seckill.broker.topics import open_topics
from seckill.config.sections import Events
from seckill.events.cloud_event import events_topic
from seckill.events.feed import Feed
from seckill.events.keeper import Keeper
from seckill.events.publisher import Publisher
from seckill.management import base
from seckill.management.worker import Started, WorkerCommand, working
from seckill.postgres.access import connect, postgres_errors
from seckill.telemetry.heartbeats import Heart, Kind

# Seconds for a connection to PostgreSQL, and for its answer.
CONNECT_S, ANSWER_S = 5, 30.0


class Command(WorkerCommand[Events]):
    """Parse, build, run."""

    kind = Events
    help = (
        "Publish what became of stored orders (accepted, paid, expired, cancelled) as CloudEvents "
        "in topic `<topic>.events`, at least once each, in order for each user. At its first start "
        "it begins with the oldest order. A second one waits until the first has ended. Runs until "
        "SIGTERM or Ctrl-C, then exits 0; a second signal exits at once with 130."
    )
    examples = (
        "",
        "--from-now              # at the first start: leave out what is stored already",
        "--drain",
    )
    codes = {**base.WORKER}

    def add_arguments(self, parser: CommandParser) -> None:
        """The parameters of section `events`, and flags for one start only."""
        parser.add_argument(
            "--from-now",
            action="store_true",
            help="at the first start for this topic, begin after the orders that are stored now; "
            "later it goes on where it was",
        )
        parser.add_argument("--drain", action="store_true", help="end when all is published")
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> None:
        """Wait for the services, run."""
        with working(self, "run_events", Events, options) as started:
            section, say = started.section, started.say
            topic = events_topic(section.topic)
            keeper = Keeper(topic)
            partitions = started.wait_for(lambda: self._ensure(started))
            made = started.wait_for(
                lambda: self._begin(section, keeper, from_now=options["from_now"])
            )
            if made:
                where = "after the orders" if options["from_now"] else "with the oldest order"
                say(f"first start for {topic}: begins {where} that are stored now")
            heart = Heart(section.redis_url, started.lane, Kind.PUBLISHER)
            started.ends.callback(heart.close)
            publisher = Publisher(
                section.topic,
                partitions,
                lambda: connect(section.pg_dsn, CONNECT_S, ANSWER_S),
                lambda: open_producer(section, topic),
                keeper,
                started.shutdown,
                Feed(lane=started.lane),
                interval_s=section.interval / 1000,
                status_interval_s=section.status_interval,
                say=say,
                beat=lambda worker, hold: heart.beat(
                    worker.published, hold, published=worker.published, behind=worker.behind
                ),
            )
            started.ends.callback(publisher.close)
            say(f"publishing {topic} ({partitions} partitions) on {section.kafka_client}")
            publisher.run(drain=options["drain"])

    def _ensure(self, started: Started[Events]) -> int:
        """Make the topic, with as many partitions as that of the requests; how many it has."""
        requests = started.section.topic
        topic = events_topic(requests)
        with open_topics(started.section) as topics:
            if topics.ensure_beside(topic, requests):
                started.say(f"topic {topic} did not exist and was created")
            return len(topics.partitions(topic))

    def _begin(self, section: Events, keeper: Keeper, *, from_now: bool) -> bool:
        with postgres_errors():
            connection: psycopg.Connection = connect(section.pg_dsn, CONNECT_S, ANSWER_S)
            with connection:
                return keeper.make(connection, from_now=from_now)
