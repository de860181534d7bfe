"""`manage.py wait`: for scripts, until a sale has opened, is sold out, or is drained."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from django.core.management.base import CommandError, CommandParser

from seckill.broker.topics import Topics
from seckill.config.layers import lane_names, load
from seckill.config.sections import Server
from seckill.errors import RedisAway, ServiceAway
from seckill.formats.lanes import ALL, MAIN
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus, read_lane
from seckill.management import base
from seckill.management.acts import activity_number
from seckill.management.arguments import (
    KAFKA_FLAGS,
    STORE_FLAGS,
    add_address_flags,
    add_lanes_flag,
    lanes_of,
    refuse_for_several,
    seconds,
    section_flags,
)
from seckill.monitoring.milestones import (
    DRAINED,
    MILESTONES,
    Judgement,
    judge_activity,
    judge_drained,
    together,
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
        "is stored, of all activities of the lane. While a service is away it goes on waiting. It "
        "only reads."
    )
    examples = (
        "--activity-id 1 --until opened --timeout-s 600",
        "--until sold-out --timeout-s 60 || echo not yet",
        "--until drained --timeout-s 120 --json",
        "--until drained --timeout-s 120 --lane all",
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
        add_lanes_flag(parser, "that of the activity; for drained main")
        add_address_flags(parser, *STORE_FLAGS[:1], *KAFKA_FLAGS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        activity_id, until = options["activity_id"], options["until"]
        named = lanes_of(options, MAIN if until == DRAINED else ALL)
        refuse_for_several(named, options)
        began = time.monotonic()
        away: ServiceAway | None = None
        found = Judgement(False, "")
        with Shutdown() as shutdown, ExitStack() as ends:
            flags = section_flags(options, Server)
            lanes = [_Lane(name, load(Server, flags, lane=name), ends) for name in named]
            others = [
                _Lane(name, load(Server, {}, lane=name), ends)
                for name in (lane_names() if until != DRAINED else ())
                if name not in named
            ]
            while True:
                try:
                    away = None
                    if until == DRAINED:
                        found = together([lane.drained() for lane in lanes])
                    else:
                        found = _judge(activity_id, lanes, others, until)
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


class _Lane:
    """A lane that is looked at."""

    def __init__(self, name: str, server: Server, ends: ExitStack) -> None:
        self.name, self._lane, self._server = name, Lane.named(name), server
        self._client = ends.enter_context(connect(server.redis_url))
        self._tails = Tails(server)
        ends.callback(self._tails.close)

    def status(self) -> LaneStatus:
        """As it is in Redis. Raises RedisAway."""
        return read_lane(self._client, self._lane)

    def drained(self) -> Judgement:
        """Whether nothing waits in it. Raises ServiceAway."""
        status = self.status()
        with Topics(self._server) as topics:
            ends = read_ends(topics, self._server.topic)
            where = self._tails.look(topics, ends, status.positions)
        return judge_drained(status, sum(where.lag(status.positions).values()))


def _judge(
    activity_id: int, lanes: Sequence[_Lane], others: Sequence[_Lane], until: str
) -> Judgement:
    """Of the lane that has the activity; of the first one if none has it yet.

    Raises RedisAway, if it may be in a lane that does not answer.
    """
    first: LaneStatus | None = None
    away: RedisAway | None = None
    for lane in (*lanes, *others):
        try:
            status = lane.status()
        except RedisAway as lost:
            away = away if lane in others else lost
            continue
        if activity_id not in status.activities:
            first = first or status
        elif lane in others:
            named = ", ".join(each.name for each in lanes)
            why = f"activity {activity_id} is in lane {lane.name}, and this is lane {named}"
            return Judgement(None, why)
        else:
            return judge_activity(status, activity_id, until)
    if away is not None:
        raise away
    assert first is not None
    return judge_activity(first, activity_id, until)
