"""`manage.py wait`: for scripts, until a sale has opened, is sold out, or is drained."""

import time
from contextlib import ExitStack
from typing import Any

from django.core.management.base import CommandError, CommandParser

from seckill.broker.topics import Topics
from seckill.config.layers import load
from seckill.config.sections import Server
from seckill.errors import ServiceAway
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.status import read_lane
from seckill.management import base
from seckill.management.acts import activity_number
from seckill.management.arguments import (
    KAFKA_FLAGS,
    STORE_FLAGS,
    add_address_flags,
    add_lane_flag,
    seconds,
    section_flags,
)
from seckill.monitoring.milestones import (
    DRAINED,
    MILESTONES,
    Judgement,
    judge_activity,
    judge_drained,
)
from seckill.process import exit_codes
from seckill.process.shutdown import Shutdown
from seckill.telemetry.lag import Tails, read_ends

# Seconds between two looks.
LOOK_S = 0.5


class Command(base.Command):
    """Look until it is so."""

    help = (
        "Wait until a sale has come so far. opened: the activity takes requests now. sold-out: "
        "no unit of it is left. drained: every request in the topic is decided and every record "
        "is stored, of all activities. While a service is away it goes on waiting. It only reads."
    )
    examples = (
        "--activity-id 1 --until opened --timeout-s 600",
        "--until sold-out --timeout-s 60 || echo not yet",
        "--until drained --timeout-s 120 --json",
    )
    codes = {
        **base.AWAY,
        exit_codes.OK: "it has come so far",
        exit_codes.FAILED: "it cannot come so far any more (finished, closed)",
        exit_codes.UNREACHABLE: "not in time: at the end a service was away, or refused us",
        exit_codes.NOT_IN_TIME: "not in time",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """What to wait for, and how long."""
        parser.add_argument(
            "--activity-id", "--activity", type=activity_number, default=DEFAULT_ACTIVITY,
            metavar="N", help="the activity (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument("--until", choices=MILESTONES, required=True, help="what to wait for")
        parser.add_argument(
            "--timeout-s", "--timeout", type=seconds, required=True, metavar="SECONDS",
            help="the longest time to wait",
        )  # fmt: skip
        base.add_json_flag(parser)
        add_lane_flag(parser)
        add_address_flags(parser, *STORE_FLAGS[:1], *KAFKA_FLAGS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        server = load(Server, section_flags(options, Server), lane=options["lane"])
        activity_id, until = options["activity_id"], options["until"]
        began = time.monotonic()
        away: ServiceAway | None = None
        found = Judgement(False, "")
        with Shutdown() as shutdown, ExitStack() as ends:
            client = ends.enter_context(connect(server.redis_url))
            tails = Tails(server)
            ends.callback(tails.close)
            while True:
                try:
                    away = None
                    lane = read_lane(client, Lane.named(options["lane"]))
                    if until == DRAINED:
                        with Topics(server) as topics:
                            where = tails.look(
                                topics, read_ends(topics, server.topic), lane.positions
                            )
                        found = judge_drained(lane, sum(where.lag(lane.positions).values()))
                    else:
                        found = judge_activity(lane, activity_id, until)
                except ServiceAway as now:
                    away = now
                if away is None and found.reached is not False:
                    break
                left = options["timeout_s"] - (time.monotonic() - began)
                if left <= 0 or shutdown.wait(min(LOOK_S, left)):
                    break
            called_off = shutdown.requested
        waited_s = round(time.monotonic() - began, 3)
        if options["json"]:
            self.print_json(
                {
                    "schema": 1,
                    "until": until,
                    "activity_id": activity_id,
                    "reached": None if away else found.reached,
                    "why": str(away) if away else found.why,
                    "waited_s": waited_s,
                }
            )
        else:
            self.stdout.write(f"{until}: {away or found.why}, after {waited_s:.1f} s")
        if called_off:
            raise CommandError("called off", returncode=exit_codes.SECOND_SIGNAL)
        if away is not None:
            raise away
        if found.reached is None:
            raise SystemExit(exit_codes.FAILED)
        if not found.reached:
            raise SystemExit(exit_codes.NOT_IN_TIME)
