"""`manage.py run_log_worker`: store accepted records in PostgreSQL."""

from typing import Any

from django.core.management.base import CommandParser

from seckill.audit.by_itself import AuditByItself
from seckill.config.sections import LogWorker as Section
from seckill.lane.client import connect, ping
from seckill.log_worker.storage import Storage
from seckill.log_worker.traced_storage import TracedStorage
from seckill.log_worker.worker import LogWorker
from seckill.management import base
from seckill.management.arguments import use_database
from seckill.management.worker import WorkerCommand, working
from seckill.monitoring.fitness import check_postgres, check_redis
from seckill.telemetry.heartbeats import Heart, Kind, worker_id
from seckill.telemetry.tracing import open_tracing


class Command(WorkerCommand[Section]):
    """Parse, build, run."""

    kind = Section
    help = (
        "Store accepted records from the Redis list in PostgreSQL, each once. Runs until SIGTERM "
        "or Ctrl-C, then finishes the batch in flight and exits 0; a second signal exits at once "
        "with 130."
    )
    examples = (
        "",
        "--drain",
    )
    codes = {**base.WORKER}

    def add_arguments(self, parser: CommandParser) -> None:
        """The parameters of section `log_worker`."""
        parser.add_argument("--drain", action="store_true", help="end when the list is empty")
        super().add_arguments(parser)

    def work(self, options: dict[str, Any]) -> None:
        """Wait for the services, run."""
        with working(self, "run_log_worker", Section, options) as started:
            settings, lane = started.section, started.lane
            client = started.ends.enter_context(connect(settings.redis_url))
            tracing = open_tracing("run_log_worker", settings.otlp_endpoint)
            storage = (
                Storage(settings.pg_dsn, lane.list)
                if tracing is None
                else TracedStorage(tracing, settings.pg_dsn, lane.list)
            )
            started.ends.callback(storage.close)
            started.wait_for(lambda: ping(client))
            started.wait_for(lambda: check_redis(client, lane, started.say, "log_worker"))
            started.wait_for(storage.check)
            started.wait_for(lambda: check_postgres(settings.pg_dsn, started.say))
            heart = Heart(settings.redis_url, lane, Kind.LOG_WORKER)
            if not options["drain"]:
                use_database(settings.pg_dsn)
                started.ends.enter_context(
                    AuditByItself(
                        started.ends.enter_context(connect(settings.redis_url)),
                        lane,
                        f"{worker_id()} (by itself)",
                        settings.audit_interval_s,
                    )
                )
            LogWorker(
                client,
                storage,
                started.shutdown,
                lane,
                batch_size=settings.batch_size,
                interval_s=settings.interval / 1000,
                status_interval_s=settings.status_interval,
                say=started.say,
                beat=lambda worker, hold: heart.beat(
                    worker.stored + worker.known + worker.parked,
                    hold,
                    stored=worker.stored,
                    known=worker.known,
                    parked=worker.parked,
                ),
            ).run(drain=options["drain"])
            heart.close()
