"""`manage.py run_sale`: a whole sale in one command, for `make run` and `make demo`."""

import argparse
import contextlib
import logging
import os
import secrets
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from demo import lanes, sandbox
from demo.alone import SaleRuns, alone
from demo.figures import Plan
from demo.part import Part
from demo.ports import Ports, port_of
from demo.sale import GUEST_HOLD_S, Sale, logs_folder
from demo.shop import door_flags, shop
from demo.till import Till
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
from seckill.config.secret_files import secret
from seckill.config.sections import ENV_PREFIX, Client, ControlApi, Door, Server
from seckill.errors import ServiceAway
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.management import base
from seckill.management.arguments import positive, use_database
from seckill.models import ApiKey
from seckill.process import exit_codes
from seckill.process.console import Console
from seckill.process.shutdown import Shutdown
from seckill.web.door.token_maker import TokenMaker
from seckill.web.shared.accounts import Unusable, make_admin, make_api_key

STOCK = "1001:30000,1002:20000,1003:20000,1004:15000,1005:15000"
ADMIN = "admin"
KEY_NAME = "make run"
# The usual port of the demo shop.
SHOP_PORT = 3002
# Units for guests after the sale.
GUEST_UNITS = 20


class Command(base.Command):
    """Set up, play, show, serve."""

    help = (
        "Start the embedded services, put stock on sale, start consumers, log worker and control "
        "API, buyers' door and a shop for guests, send a load, audit and show the result. Then "
        "keep serving until Ctrl-C, which stops everything that was started. With --demo it ends "
        "after the audit, with exit code 0 only if the audit is clean and each click at the door "
        "was told what the orders say."
    )
    examples = (
        "--demo",
        "--stock 1001:500 --requests 5000 --seed 7",
        "--lanes 2",
    )
    codes = {
        exit_codes.OK: "ended; with --demo: audit and answers are clean",
        exit_codes.FAILED: "not proved clean, or a sale runs here already and nothing was changed",
        exit_codes.UNREACHABLE: "a service or a worker could not be started",
    }
    _sandbox = False

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
            "--lanes",
            dest="lane_count",
            type=_lanes,
            default=1,
            metavar="N",
            help=f"play it in so many lanes, 1 to {lanes.MOST}, an activity in each, on services "
            "of their own (default: %(default)s)",
        )
        parser.add_argument(
            "--port", type=int, help="port of API and admin (default: 3000, or a free one)"
        )
        parser.add_argument(
            "--door-port", type=int, help="port of the buyers' door (default: 3001, or a free one)"
        )
        parser.add_argument(
            "--sandbox",
            action="store_true",
            help="a small sale on services of its own, without a rate limit, and removed at the "
            "end: for contract fuzzers",
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
        if options["sandbox"]:
            self._sandbox = True
            sandbox.enter(os.environ)
            options["requests"] = options["requests"] or sandbox.REQUESTS
        if options["lane_count"] > 1:
            lanes.enter(os.environ, options["lane_count"])
        try:
            stock = {int(k): int(v) for k, v in dict(parse_stock(options["stock"])).items()}  # type: ignore[call-overload]
        except ValueError as wrong:
            raise CommandError(f"--stock: {wrong}", returncode=exit_codes.USAGE) from None
        seed = options["seed"] if options["seed"] is not None else secrets.randbelow(10**9)
        name = options["profile"]
        try:
            # Checked before anything starts: the load generator would only report it to its log.
            profile, requests = read_profile(name), options["requests"]
            whole = make_load(load(Client), profile, name, requests=requests, seed=seed)
        except ConfigError as wrong:
            raise CommandError(f"--profile: {wrong}", returncode=exit_codes.USAGE) from None
        consumers, number = options["consumers"], options["lane_count"]
        plan = Plan(stock, name, whole.requests, seed, consumers, lanes=number)
        folder = devstack_folder(os.environ)
        port = port_of(options["port"], load(ControlApi).port, "--port")
        door_port = port_of(options["door_port"], load(Door).port, "--door-port", {port})
        shop_port = port_of(None, SHOP_PORT, "", {port, door_port})
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
                ports = Ports(port, door_port, shop_port)
                code = self._run(plan, folder, ports, console, shutdown, demo=options["demo"])
        except SaleRuns as runs:
            raise CommandError(str(runs), returncode=exit_codes.FAILED) from None
        except DevstackError as wrong:
            raise CommandError(str(wrong), returncode=exit_codes.UNREACHABLE) from None
        if self._sandbox:
            sandbox.leave()
        if code:
            sys.exit(code)

    def _run(
        self,
        plan: Plan,
        folder: Path,
        ports: Ports,
        console: Console,
        shutdown: Shutdown,
        *,
        demo: bool,
    ) -> int:
        stack = Stack(folder)
        endpoints = stack.up(console.say, owner_pid=os.getpid())
        payment_key = secrets.token_urlsafe(32)
        environment = {
            **worker_environment(endpoints.as_env()),
            ENV_PREFIX + "PAYMENT_KEYS": f"demo:{sha256(payment_key.encode()).hexdigest()}",
            ENV_PREFIX + "PAY_URL": f"http://127.0.0.1:{ports.shop}/pay?ticket={{ticket}}",
        }
        crew = Crew(BASE_DIR, logs_folder(folder), environment)
        topics = None
        servers = contextlib.ExitStack()
        try:
            use_database(endpoints.owner_dsn)
            call_command("migrate", verbosity=0)
            use_database(endpoints.pg_dsn)
            addresses = self._credentials(ports)
            server = load(Server, environ=environment)
            guests = TokenMaker.of(load(Door, environ=environment))
            topics = Topics(server)
            client = connect(endpoints.redis_url)
            view = view_for(console, plan)
            sale = Sale(
                plan=plan,
                parts=[
                    Part(n, Lane.named(lane), of_lane, client, topics, plan)
                    for n, lane in enumerate(lanes.names(plan.lanes))
                    for of_lane in (load(Server, environ=environment, lane=lane),)
                ],
                crew=crew,
                shutdown=shutdown,
                say=console.say,
                show=view.show,
                port=ports.web,
                door_port=ports.door,
                door_flags=door_flags(ports.shop),
            )
            # A cancelled demo has proved nothing.
            called_off = exit_codes.FAILED if demo else exit_codes.OK
            sale.prepare()
            if shutdown.requested:
                return called_off
            till = Till(addresses.door, payment_key)
            servers.enter_context(shop(ports.shop, guests, plan.activity_id, till))
            if not demo:
                console.print(f"buy along: {addresses.shop}")
            console.print(f"load: profile {plan.profile}, seed {plan.seed}")
            with view:
                result = sale.play()
            if shutdown.requested:
                console.print("stopped in the middle of the sale")
                return called_off
            print_result(result, sum(plan.stock.values()), console)
            for picture in sale.draw(folder):
                console.print(f"The picture of the sale: {picture}")
            if demo:
                return exit_codes.OK if result.proved else exit_codes.FAILED
            item = sale.open_again(GUEST_UNITS)
            addresses.print(console)
            console.print(
                f"{GUEST_UNITS} more units of item {item} are on sale, for you to buy and to pay "
                f"for within {GUEST_HOLD_S} s, with pretend money."
            )
            if self._sandbox:
                console.print(sandbox.advice(ports.web, addresses.api_key), markup=False)
            console.print(f"The workers write to {crew.folder}. Ctrl-C stops everything.")
            sale.keep_alive()
            console.print("stopping")
            return exit_codes.OK
        except ServiceAway as away:
            raise DevstackError(f"{away}; the workers' output is in {crew.folder}") from None
        finally:
            servers.close()
            crew.stop()
            if topics is not None:
                topics.close()
            stack.down(owner=own_process())

    def _credentials(self, ports: Ports) -> Addresses:
        """An operator's login and an API key. New each time, because neither is kept in plain."""
        try:
            password = make_admin(ADMIN, secret("ADMIN_PASSWORD", os.environ) or None)
        except Unusable as wrong:
            raise ConfigError(f"{ENV_PREFIX}ADMIN_PASSWORD: {wrong}") from None
        ApiKey.objects.filter(name=KEY_NAME).delete()
        key = make_api_key(KEY_NAME, can_steer=True)
        return Addresses(
            port=ports.web,
            door=f"http://127.0.0.1:{ports.door}",
            shop=f"http://127.0.0.1:{ports.shop}/",
            user=ADMIN,
            password=password,
            api_key=key,
        )


def _lanes(text: str) -> int:
    number = positive(text)
    if number > lanes.MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {lanes.MOST}")
    return number
