"""`manage.py run_control_api`: REST, its documentation, and the admin, in one process."""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.core.management.base import CommandError, CommandParser
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from seckill.config.addresses import networks
from seckill.config.layers import lane_addresses, load
from seckill.config.sections import ControlApi
from seckill.errors import PostgresAway, TablesMissing
from seckill.formats.lanes import cache_of
from seckill.lane.client import why_away
from seckill.management import base
from seckill.management.arguments import (
    add_section_flags,
    add_supervision_flag,
    section_flags,
    use_database,
)
from seckill.management.failures import NO_TABLES
from seckill.monitoring.metrics import serve_metrics
from seckill.postgres.through_django import postgres_errors
from seckill.process import exit_codes
from seckill.process.logs import configure_logging, speaker
from seckill.process.shutdown import Shutdown
from seckill.web.server import serve
from seckill.web.sockets import address_of, listen, told_without_tls
from seckill.web.static_files import use_hashed_files

DEFAULT_THREADS = 8


class Command(base.Command):
    """Parse, build, run."""

    _say: Callable[[str], None]

    help = (
        "Serve the control API (/v1, and /set_stock, /finish_activity, /status, /sync_from_db), "
        "its documentation (/docs) and the admin (/admin). Runs until SIGTERM or Ctrl-C, then "
        "finishes the answers in flight and exits 0; a second signal exits at once with 130. While "
        "Redis or PostgreSQL is away it keeps running and answers 503."
    )
    examples = ("--port 8000 --threads 16",)
    # They import every page: none is left for the first visitor to wait for.
    requires_system_checks = "__all__"
    codes = {
        exit_codes.OK: "stopped",
        exit_codes.USAGE: "wrong configuration, port already taken, or missing tables",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """The parameters of section `control_api`."""
        parser.add_argument(
            "--threads",
            type=int,
            default=DEFAULT_THREADS,
            help="requests answered at the same time (default: %(default)s)",
        )
        add_supervision_flag(parser)
        add_section_flags(parser, ControlApi)

    def handle(self, *args: Any, **options: Any) -> None:
        """Take the port, check the services, serve."""
        with Shutdown() as shutdown:
            if options["stop_with_stdin"]:
                shutdown.watch_stdin()
            if not 1 <= options["threads"] <= 1000:
                raise CommandError("--threads: 1 to 1000", returncode=exit_codes.USAGE)
            section = load(ControlApi, section_flags(options, ControlApi))
            self._say = speaker(self.stdout, section.log_format, "run_control_api")
            use_database(section.pg_dsn)
            # Each thread makes its client from these settings.
            addresses = lane_addresses(section.redis_url)
            for lane, address in addresses.items():
                caches.settings[cache_of(lane)]["LOCATION"] = address
            settings.RATE_LIMIT, settings.RATE_BURST = section.rate_limit, section.rate_burst
            bound = listen(section.host, section.port)
            metrics = serve_metrics(section.metrics_host, section.metrics_port, addresses)
            with contextlib.closing(bound), metrics:
                self._look_at_services(addresses)
                self._warn(bound)
                use_hashed_files(settings.COLLECTED_ROOT)
                application = get_wsgi_application()
                # Django has just configured logging again from its settings.
                configure_logging(section.log_format)
                place = f"http://{address_of(bound)}"
                self._say(f"control API  {place}/status")
                self._say(f"its docs     {place}/docs")
                self._say(f"admin        {place}/admin/")
                serve(
                    application,
                    bound,
                    options["threads"],
                    shutdown,
                    per_address=section.connections_per_address,
                    proxies=networks(section.proxy_networks),
                )
            self._say("stopped")

    def _look_at_services(self, addresses: dict[str, str]) -> None:
        """Report what is away; refuse to run with missing or older tables."""
        try:
            with postgres_errors():
                executor = MigrationExecutor(connection)
                missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except TablesMissing:
            raise
        except PostgresAway as away:
            self._say(f"{away}. Serving anyway: answers are 503 until it is back.")
        else:
            if missing:
                raise CommandError(NO_TABLES, returncode=exit_codes.USAGE)
        finally:
            connection.close()
        for address in dict.fromkeys(addresses.values()):
            gone = why_away(address)
            if gone:
                self._say(f"{gone}. Serving anyway: answers are 503 until it is back.")

    def _warn(self, bound: socket.socket) -> None:
        warning = told_without_tls(bound, "keys and passwords")
        if not warning:
            return
        self._say(warning)
        if settings.ALLOWED_HOSTS == DEFAULT_HOSTS:
            self._say(
                "WARNING: it answers only as 127.0.0.1 and localhost; add its other host names to "
                "SECKILL_ALLOWED_HOSTS."
            )


DEFAULT_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
