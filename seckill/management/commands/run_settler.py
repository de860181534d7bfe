"""`manage.py run_settler`: settle holds from Kafka in Redis, and let holds expire."""

from contextlib import suppress
from typing import Any

from django.core.management.base import CommandParser

from seckill.broker.topics import open_topics
from seckill.config.sections import Settler
from seckill.errors import PostgresAway
from seckill.formats.settle import request_topic
from seckill.lane.client import connect, ping
from seckill.management import base
from seckill.management.arguments import add_drain_flags
from seckill.management.worker import WorkerCommand, run_group, working
from seckill.monitoring.fitness import check_postgres, check_redis
from seckill.process import exit_codes
from seckill.settler.group import SettlerGroup


class Command(WorkerCommand[Settler]):
    """Parse, build, run."""

    kind = Settler
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
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> None:
        """Wait for the services, run."""
        with working(self, "run_settler", Settler, options) as started:
            section = started.section.of_settlements()
            client = started.ends.enter_context(connect(section.redis_url))
            topics = started.wait_for(lambda: open_topics(section))
            started.wait_for(lambda: ping(client))
            started.wait_for(lambda: check_redis(client, started.lane, started.say, "settler"))
            # Settling needs no PostgreSQL. Whatever needs it waits for it, and says so.
            with suppress(PostgresAway):
                check_postgres(section.pg_dsn, started.say)
            requests = request_topic(section.topic)
            if started.wait_for(lambda: topics.ensure_beside(section.topic, requests)):
                started.say(f"topic {section.topic} did not exist and was created")
            group = SettlerGroup(
                section, client, topics, started.shutdown, started.lane, started.say
            )
            started.say(
                f"settling {section.topic} in group {section.group_id} with "
                f"{section.consumers} settler(s) on {section.kafka_client}"
            )
            run_group(group, options, "settled")
