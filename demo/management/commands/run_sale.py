"""`manage.py run_sale`: a whole sale in one command, for `make run` and `make demo`."""

import logging
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from demo.alone import SaleRuns, alone
from demo.sale import Plan, Sale, logs_folder
from demo.view import Addresses, print_result, view_for
from devstack.crew import Crew, worker_environment
from devstack.endpoints import DevstackError
from devstack.preflight import check_folder, check_platform, check_user
from devstack.process import own_process
from devstack.stack import Stack
from loadgen.plan import make_load
from loadgen.profile_file import read_profile
from seckill.broker.topics import Topics
from seckill.config.kinds import parse_stock
from seckill.config.layers import BASE_DIR, ConfigError, devstack_folder, load
from seckill.config.sections import ENV_PREFIX, Client, ControlApi, Server
from seckill.errors import ServiceAway
from seckill.lane.client import connect
from seckill.management import base
from seckill.management.arguments import positive, use_database
from seckill.models import ApiKey
from seckill.process import exit_codes
from seckill.process.console import Console
from seckill.process.shutdown import Shutdown
from seckill.web.shared.accounts import Unusable, make_admin, make_api_key

STOCK = "1001:30000,1002:20000,1003:20000,1004:15000,1005:15000"
ADMIN = "admin"
KEY_NAME = "make run"


class Command(base.Command):
    """Set up, play, show, serve."""

    help = (
        "Start the embedded services, put stock on sale, start consumers, log worker and control "
        "API, send a load, audit and show the result. Then keep serving until Ctrl-C, which stops "
        "everything that was started. With --demo it ends after the audit, with exit code 0 only "
        "if the audit is clean."
    )
    examples = (
        "--demo",
        "--stock 1001:500 --requests 5000 --seed 7",
    )
    codes = {
        exit_codes.OK: "ended; with --demo: the audit is clean",
        exit_codes.FAILED: "not proved clean, or a sale runs here already and nothing was changed",
        exit_codes.UNREACHABLE: "a service or a worker could not be started",
    }
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """What to play."""
        parser.add_argument("--demo", action="store_true", help="end after the audit")
        parser.add_argument(
            "--stock", default=STOCK, help="units of each item (default: %(default)s)"
        )
        parser.add_argument(
            "--profile", default="sale", help="profile of the load (default: %(default)s)"
        )
        parser.add_argument("--requests", type=positive, help="requests (default: the profile's)")
        parser.add_argument("--seed", type=int, help="seed of the load (default: a new one)")
        parser.add_argument(
            "--consumers",
            type=positive,
            default=1,
            help="consumer processes (default: %(default)s)",
        )
        parser.add_argument(
            "--port", type=int, help="port of API and admin (default: 3000, or a free one)"
        )
        parser.add_argument(
            "--stop-with-parent",
            action="store_true",
            help="stop when the parent process is gone, however it ended (for make)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do everything; a user's mistake is one line."""
        console = Console(soft_wrap=True, highlight=False)
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        try:
            plan = Plan(
                stock={int(k): int(v) for k, v in dict(parse_stock(options["stock"])).items()},  # type: ignore[call-overload]
                profile=options["profile"],
                requests=options["requests"],
                seed=options["seed"] if options["seed"] is not None else secrets.randbelow(10**9),
                consumers=options["consumers"],
            )
        except ValueError as wrong:
            raise CommandError(f"--stock: {wrong}", returncode=exit_codes.USAGE) from None
        try:
            # Checked before anything starts: the load generator would only report it to its log.
            profile = read_profile(plan.profile)
            make_load(load(Client), profile, plan.profile, requests=plan.requests, seed=plan.seed)
        except ConfigError as wrong:
            raise CommandError(f"--profile: {wrong}", returncode=exit_codes.USAGE) from None
        folder = devstack_folder(os.environ)
        port = _free_port(options["port"], load(ControlApi).port)
        try:
            check_platform()
            check_user()
            check_folder(folder)
            with (
                alone(folder, f"http://127.0.0.1:{port}/admin/"),
                Shutdown() as shutdown,
            ):
                if options["stop_with_parent"]:
                    shutdown.watch_parent()
                code = self._run(plan, folder, port, console, shutdown, demo=options["demo"])
        except SaleRuns as runs:
            raise CommandError(str(runs), returncode=exit_codes.FAILED) from None
        except DevstackError as wrong:
            raise CommandError(str(wrong), returncode=exit_codes.UNREACHABLE) from None
        if code:
            sys.exit(code)

    def _run(
        self,
        plan: Plan,
        folder: Path,
        port: int,
        console: Console,
        shutdown: Shutdown,
        *,
        demo: bool,
    ) -> int:
        stack = Stack(folder)
        endpoints = stack.up(console.say, owner_pid=os.getpid())
        environment = worker_environment(endpoints.as_env())
        crew = Crew(BASE_DIR, logs_folder(folder), environment)
        topics = None
        try:
            use_database(endpoints.pg_dsn)
            call_command("migrate", verbosity=0)
            addresses = self._credentials(port)
            server = load(Server, environ=environment)
            topics = Topics(server)
            view = view_for(console, plan)
            sale = Sale(
                plan=plan,
                server=server,
                client=connect(endpoints.redis_url),
                topics=topics,
                crew=crew,
                shutdown=shutdown,
                say=console.say,
                show=view.show,
                port=port,
            )
            # A cancelled demo has proved nothing.
            called_off = exit_codes.FAILED if demo else exit_codes.OK
            sale.prepare()
            if shutdown.requested:
                return called_off
            console.print(f"load: profile {plan.profile}, seed {plan.seed}")
            with view:
                result = sale.play()
            if shutdown.requested:
                console.print("stopped in the middle of the sale")
                return called_off
            print_result(result, console)
            picture = folder / "report.html"
            sale.draw(result, picture)
            console.print(f"The picture of the sale: {picture}")
            if demo:
                proved = result.audit.clean and not result.stuck
                return exit_codes.OK if proved else exit_codes.FAILED
            addresses.print(console)
            console.print(f"The workers write to {crew.folder}. Ctrl-C stops everything.")
            sale.keep_alive()
            console.print("stopping")
            return exit_codes.OK
        except ServiceAway as away:
            raise DevstackError(f"{away}; the workers' output is in {crew.folder}") from None
        finally:
            crew.stop()
            if topics is not None:
                topics.close()
            stack.down(owner=own_process())

    def _credentials(self, port: int) -> "Addresses":
        """An operator's login and an API key. New each time, because neither is kept in plain."""
        try:
            password = make_admin(ADMIN, os.environ.get(ENV_PREFIX + "ADMIN_PASSWORD"))
        except Unusable as wrong:
            raise ConfigError(f"{ENV_PREFIX}ADMIN_PASSWORD: {wrong}") from None
        ApiKey.objects.filter(name=KEY_NAME).delete()
        key = make_api_key(KEY_NAME, can_steer=True)
        return Addresses(port=port, user=ADMIN, password=password, api_key=key)


def _free_port(wanted: int | None, usual: int) -> int:
    """The requested port, the usual one, or a free one. Raises CommandError."""
    for port in [wanted] if wanted else [usual, 0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CommandError(
        f"port {wanted} is taken: name another one (--port), or none to get a free one",
        returncode=exit_codes.USAGE,
    )
