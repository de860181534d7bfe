"""`manage.py run_consumer`: decide requests from Kafka in Redis."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser

from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import Server, Settler
from seckill.consumer.group import ConsumerGroup
from seckill.control.control import Control
from seckill.errors import PostgresAway, Refused
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.lane.client import connect, ping
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.acts import activity_number
from seckill.management.arguments import (
    add_drain_flags,
    add_section_flags,
    add_supervision_flag,
    section_flags,
    use_database,
)
from seckill.monitoring.fitness import check_postgres, check_redis
from seckill.monitoring.metrics import serve_metrics
from seckill.process import exit_codes
from seckill.process.logs import configure_logging, speaker
from seckill.process.shutdown import Shutdown
from seckill.process.startup import Stopped, wait_for

# Seconds for one attempt to reach Kafka.
KAFKA_ATTEMPT_S = 5.0


class Command(base.Command):
    """Parse, build, run."""

    _say: Callable[[str], None]

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
        add_supervision_flag(parser)
        add_section_flags(parser, Server)

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for the services, load what is not loaded, run."""
        with Shutdown() as shutdown, ExitStack() as ends:
            if options["stop_with_stdin"]:
                shutdown.watch_stdin()
            server = load(Server, section_flags(options, Server))
            configure_logging(server.log_format)
            self._say = speaker(self.stdout, server.log_format, "run_consumer")
            use_database(server.pg_dsn)
            ends.enter_context(
                serve_metrics(server.metrics_host, server.metrics_port, server.redis_url, Lane())
            )
            client = ends.enter_context(connect(server.redis_url))
            try:
                limit_s = server.connect_timeout
                attempt_s = min(KAFKA_ATTEMPT_S, max(1.0, limit_s))
                topics = wait_for(lambda: Topics(server, attempt_s), limit_s, shutdown, self._say)
                for ready in (lambda: ping(client), lambda: check_redis(client, Lane(), self._say)):
                    wait_for(ready, limit_s, shutdown, self._say)
                # Decisions need no PostgreSQL. Whatever needs it waits for it, and says so.
                with suppress(PostgresAway):
                    check_postgres(server.pg_dsn, self._say)
                if wait_for(lambda: topics.ensure(server.topic), limit_s, shutdown, self._say):
                    self._say(f"topic {server.topic} did not exist and was created")
                group = ConsumerGroup(server, client, topics, shutdown, say=self._say)
                self._load(group, options["activity_id"], replace=options["reset"])
                if server.reset_offset:
                    for partition, count in group.skip_to_end().items():
                        self._say(f"--reset-offset: partition {partition}: {count:,} skipped")
                self._say(
                    f"deciding {server.topic} in group {server.group_id} with "
                    f"{server.consumers} consumer(s) on {server.kafka_client}"
                )
                drain_s = options["drain_limit"]
                if not group.run(drain=options["drain"], drain_limit_s=drain_s):
                    raise CommandError(
                        f"not everything was decided within {drain_s:g} s (--drain-limit-s): the "
                        "rest waits in Kafka, nothing is lost",
                        returncode=exit_codes.NOT_IN_TIME,
                    )
            except Refused as refused:
                raise CommandError(
                    f"refused, nothing was changed: {refused}", returncode=exit_codes.FAILED
                ) from None
            except Stopped:
                self._say("stopped before it started")

    def _load(self, group: ConsumerGroup, activity_id: int, *, replace: bool) -> None:
        server = group.server
        limit_s = server.connect_timeout
        control = Control(
            group.client,
            "run_consumer",
            group.lane,
            patience_s=limit_s,
            expired_gives_back=load(Settler).expired_gives_back,
        )
        lane = wait_for(control.status, limit_s, group.shutdown, self._say)
        loaded = lane.activities.get(activity_id)
        wanted = set(server.stock)
        if loaded and not replace and wanted <= set(loaded.items):
            if wanted:
                left = {item: status.left for item, status in loaded.items.items()}
                self._say(f"activity {activity_id}: kept as loaded, left {left} (--reset replaces)")
            return
        lines = wait_for(
            lambda: control.load(activity_id, server.stock, replace=replace),
            limit_s,
            group.shutdown,
            self._say,
        )
        for line in lines:
            self._say(line)
        if not lines and not lane.loaded:
            self._say(
                "nothing is on sale: requests wait in Kafka until stock is loaded "
                "(--stock 1001:10,1002:5, or manage.py set_stock)"
            )
