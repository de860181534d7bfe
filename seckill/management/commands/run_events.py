"""`manage.py run_events`: publish what became of orders, for shops."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import psycopg
from django.core.management.base import CommandParser

from seckill.broker.opening import open_producer
from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import Events
from seckill.errors import BrokerAway
from seckill.events.cloud_event import events_topic
from seckill.events.keeper import Keeper
from seckill.events.publisher import Publisher
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.arguments import add_section_flags, add_supervision_flag, section_flags
from seckill.monitoring.metrics import serve_metrics
from seckill.postgres.access import connect, postgres_errors
from seckill.process.logs import configure_logging, speaker
from seckill.process.shutdown import Shutdown
from seckill.process.startup import Stopped, wait_for
from seckill.telemetry.heartbeats import Heart, Kind

# Seconds for one attempt to reach Kafka, for a connection to PostgreSQL, and for its answer.
KAFKA_ATTEMPT_S, CONNECT_S, ANSWER_S = 5.0, 5, 30.0


class Command(base.Command):
    """Parse, build, run."""

    _say: Callable[[str], None]

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
        add_supervision_flag(parser)
        add_section_flags(parser, Events)

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for the services, run."""
        with Shutdown() as shutdown, ExitStack() as ends:
            if options["stop_with_stdin"]:
                shutdown.watch_stdin()
            section = load(Events, section_flags(options, Events))
            configure_logging(section.log_format)
            self._say = speaker(self.stdout, section.log_format, "run_events")
            lane, topic = Lane(), events_topic(section.topic)
            ends.enter_context(
                serve_metrics(section.metrics_host, section.metrics_port, section.redis_url, lane)
            )
            keeper = Keeper(topic)
            try:
                limit_s = section.connect_timeout
                partitions = wait_for(lambda: self._ensure(section), limit_s, shutdown, self._say)
                made = wait_for(
                    lambda: self._begin(section, keeper, from_now=options["from_now"]),
                    *(limit_s, shutdown, self._say),
                )
            except Stopped:
                self._say("stopped before it started")
                return
            if made:
                where = "after the orders" if options["from_now"] else "with the oldest order"
                self._say(f"first start for {topic}: begins {where} that are stored now")
            heart = Heart(section.redis_url, lane, Kind.PUBLISHER)
            ends.callback(heart.close)
            publisher = Publisher(
                section.topic,
                partitions,
                lambda: connect(section.pg_dsn, CONNECT_S, ANSWER_S),
                lambda: open_producer(section, topic),
                keeper,
                shutdown,
                interval_s=section.interval / 1000,
                status_interval_s=section.status_interval,
                say=self._say,
                beat=lambda worker, hold: heart.beat(
                    worker.published, hold, published=worker.published, behind=worker.behind
                ),
            )
            ends.callback(publisher.close)
            self._say(f"publishing {topic} ({partitions} partitions) on {section.kafka_client}")
            publisher.run(drain=options["drain"])

    def _ensure(self, section: Events) -> int:
        """Make the topic, with as many partitions as that of the requests; how many it has."""
        topic = events_topic(section.topic)
        with Topics(section, min(KAFKA_ATTEMPT_S, max(1.0, section.connect_timeout))) as topics:
            topics.ensure(section.topic)
            partitions = len(topics.partitions(section.topic))
            if not partitions:
                raise BrokerAway(f"topic {section.topic} has no partitions yet")
            if topics.ensure(topic, partitions):
                self._say(f"topic {topic} did not exist and was created")
            return len(topics.partitions(topic))

    def _begin(self, section: Events, keeper: Keeper, *, from_now: bool) -> bool:
        with postgres_errors():
            connection: psycopg.Connection = connect(section.pg_dsn, CONNECT_S, ANSWER_S)
            with connection:
                return keeper.make(connection, from_now=from_now)
