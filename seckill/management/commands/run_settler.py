"""`manage.py run_settler`: settle holds from Kafka in Redis, and let holds expire."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser

from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import Settler
from seckill.errors import BrokerAway, PostgresAway
from seckill.formats.settle import request_topic
from seckill.lane.client import connect, ping
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.arguments import (
    add_drain_flags,
    add_section_flags,
    add_supervision_flag,
    section_flags,
)
from seckill.monitoring.fitness import check_postgres, check_redis
from seckill.monitoring.metrics import serve_metrics
from seckill.process import exit_codes
from seckill.process.logs import configure_logging, speaker
from seckill.process.shutdown import Shutdown
from seckill.process.startup import Stopped, wait_for
from seckill.settler.group import SettlerGroup

# Seconds for one attempt to reach Kafka.
KAFKA_ATTEMPT_S = 5.0


class Command(base.Command):
    """Parse, build, run."""

    _say: Callable[[str], None]

    help = (
        "Read settlements (paid, failed, cancelled) of held orders from topic `<topic>.settle` and "
        "settle them in batches in Redis; let holds expire that nobody paid in time. A payment "
        "that Kafka had before a hold's end always wins. Runs until SIGTERM or Ctrl-C, then "
        "finishes and commits the batch in flight and exits 0; a second signal exits at once with "
        "130."
    )
    examples = (
        "",
        "--drain --drain-limit-s 60",
        "--consumers 2 --grace-ms 2000 --metrics-port 9103 --log-format json",
    )
    codes = {
        **base.WORKER,
        exit_codes.NOT_IN_TIME: "not everything was settled within --drain-limit-s",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """The parameters of section `settler`, and flags for one start only."""
        add_drain_flags(parser, "everything in the topic is settled, and no hold is overdue")
        add_supervision_flag(parser)
        add_section_flags(parser, Settler)

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for the services, run."""
        with Shutdown() as shutdown, ExitStack() as ends:
            if options["stop_with_stdin"]:
                shutdown.watch_stdin()
            section = load(Settler, section_flags(options, Settler)).of_settlements()
            configure_logging(section.log_format)
            self._say = speaker(self.stdout, section.log_format, "run_settler")
            lane = Lane()
            ends.enter_context(
                serve_metrics(section.metrics_host, section.metrics_port, section.redis_url, lane)
            )
            client = ends.enter_context(connect(section.redis_url))
            try:
                limit_s = section.connect_timeout
                attempt_s = min(KAFKA_ATTEMPT_S, max(1.0, limit_s))
                topics = wait_for(lambda: Topics(section, attempt_s), limit_s, shutdown, self._say)
                for ready in (lambda: ping(client), lambda: check_redis(client, lane, self._say)):
                    wait_for(ready, limit_s, shutdown, self._say)
                # Settling needs no PostgreSQL. Whatever needs it waits for it, and says so.
                with suppress(PostgresAway):
                    check_postgres(section.pg_dsn, self._say)
                wait_for(lambda: self._ensure(topics, section), limit_s, shutdown, self._say)
                group = SettlerGroup(section, client, topics, shutdown, say=self._say)
                self._say(
                    f"settling {section.topic} in group {section.group_id} with "
                    f"{section.consumers} settler(s) on {section.kafka_client}"
                )
                drain_s = options["drain_limit"]
                if not group.run(drain=options["drain"], drain_limit_s=drain_s):
                    raise CommandError(
                        f"not everything was settled within {drain_s:g} s (--drain-limit-s): the "
                        "rest waits in Kafka, nothing is lost",
                        returncode=exit_codes.NOT_IN_TIME,
                    )
            except Stopped:
                self._say("stopped before it started")

    def _ensure(self, topics: Topics, section: Settler) -> None:
        """Make the topic, with as many partitions as the requests' topic has. Raises BrokerAway."""
        requests = request_topic(section.topic)
        topics.ensure(requests)
        partitions = len(topics.partitions(requests))
        if not partitions:
            raise BrokerAway(f"topic {requests} has no partitions yet")
        if topics.ensure(section.topic, partitions):
            self._say(f"topic {section.topic} did not exist and was created")
