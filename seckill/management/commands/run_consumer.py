"""`manage.py run_consumer`: decide requests from Kafka in Redis."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser

from seckill.broker.topics import Topics, open_topics
from seckill.config.addresses import on_this_machine
from seckill.config.layers import load
from seckill.config.sections import Server, Settler
from seckill.consumer.group import ConsumerGroup
from seckill.control.control import Control
from seckill.errors import PostgresAway, Refused
from seckill.formats.lanes import MAIN
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.lane.client import connect, ping
from seckill.management import base
from seckill.management.acts import activity_number
from seckill.management.arguments import add_drain_flags, use_database
from seckill.management.worker import Started, WorkerCommand, run_group, working
from seckill.monitoring.fitness import check_postgres, check_redis
from seckill.postgres.seasons import NoSeason, refuse_without_season
from seckill.process import exit_codes

ONE_COPY = (
    "note: topic {} has one copy: with its broker its requests are lost, those too that were "
    "acknowledged. Give it three on three brokers (topic_replication 3, before it is made)"
)


class Command(WorkerCommand[Server]):
    """Parse, build, run."""

    kind = Server
    one_lane = ("stock", "reset")
    help = (
        "Read requests from Kafka and decide them in batches in Redis. Runs until SIGTERM or "
        "Ctrl-C, then finishes and commits the batch in flight and exits 0; a second signal exits "
        "at once with 130."
    )
    examples = (
        "--stock 1001:100,1002:50 --consumers 2",
        "--drain --drain-limit-s 60",
        "--metrics-port 9101 --log-format json",
    )
    codes = {
        **base.WORKER,
        exit_codes.FAILED: "--stock was refused, and nothing was changed",
        exit_codes.NOT_IN_TIME: "not everything was decided within --drain-limit-s",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """The parameters of section `server`, and flags for one start only."""
        add_drain_flags(parser, "everything in the topic is decided")
        parser.add_argument(
            "--reset",
            action="store_true",
            help="with --stock: replace what is loaded, and start the statistics again",
        )
        parser.add_argument(
            "--activity-id",
            type=activity_number,
            default=DEFAULT_ACTIVITY,
            metavar="N",
            help="activity that --stock belongs to (default: %(default)s)",
        )
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> None:
        """Wait for the services, load what is not loaded, run."""
        with working(self, "run_consumer", Server, options) as started:
            server = started.section
            use_database(server.pg_dsn)
            client = started.ends.enter_context(connect(server.redis_url))
            try:
                topics = started.wait_for(lambda: open_topics(server))
                started.wait_for(lambda: ping(client))
                started.wait_for(lambda: check_redis(client, started.lane, started.say, "consumer"))
                # Decisions need no PostgreSQL. Whatever needs it waits for it, and says so.
                answered = False
                with suppress(PostgresAway):
                    check_postgres(server.pg_dsn, started.say)
                    answered = True
                if started.wait_for(lambda: topics.ensure(server.topic)):
                    started.say(f"topic {server.topic} did not exist and was created")
                if not on_this_machine(server.brokers):
                    copies = started.wait_for(lambda: topics.copies(server.topic))
                    if copies == 1:
                        started.say(ONE_COPY.format(server.topic))
                if answered:
                    self._tell_without_season(started, topics)
                group = ConsumerGroup(
                    server, client, topics, started.shutdown, started.lane, started.say
                )
                # What the file or the environment put on sale is lane main's.
                of_lane = started.lane.name == MAIN or options["stock"] is not None
                stock = server.stock if of_lane else {}
                self._load(started, group, stock, options)
                if server.reset_offset:
                    for partition, count in group.skip_to_end().items():
                        started.say(f"--reset-offset: partition {partition}: {count:,} skipped")
                started.say(
                    f"deciding {server.topic} in group {server.group_id} with "
                    f"{server.consumers} consumer(s) on {server.kafka_client}"
                )
                run_group(group, options, "decided")
            except Refused as refused:
                raise CommandError(
                    f"refused, nothing was changed: {refused}", returncode=exit_codes.FAILED
                ) from None

    def _tell_without_season(self, started: Started[Server], topics: Topics) -> None:
        """Decisions go on without it. What is accepted waits in Redis until somebody makes it."""
        topic, dsn = started.section.topic, started.section.pg_dsn
        source = started.wait_for(lambda: topics.source(topic))
        with suppress(PostgresAway):
            try:
                refuse_without_season(dsn, source or "")
            except NoSeason as lacking:
                started.say(f"note: {lacking}. Until then no order of {topic} is stored")

    def _load(
        self,
        started: Started[Server],
        group: ConsumerGroup,
        stock: Mapping[int, int],
        options: dict[str, Any],
    ) -> None:
        activity_id, replace = options["activity_id"], options["reset"]
        control = Control(
            group.client,
            "run_consumer",
            group.lane,
            patience_s=started.section.connect_timeout,
            expired_gives_back=load(Settler).expired_gives_back,
        )
        lane = started.wait_for(control.status)
        loaded = lane.activities.get(activity_id)
        wanted = set(stock)
        if loaded and not replace and wanted <= set(loaded.items):
            if wanted:
                left = {item: status.left for item, status in loaded.items.items()}
                started.say(
                    f"activity {activity_id}: kept as loaded, left {left} (--reset replaces)"
                )
            return
        lines = started.wait_for(lambda: control.load(activity_id, stock, replace=replace))
        for line in lines:
            started.say(line)
        if not lines and not lane.loaded:
            started.say(
                "nothing is on sale: requests wait in Kafka until stock is loaded "
                "(--stock 1001:10,1002:5, or manage.py set_stock)"
            )
