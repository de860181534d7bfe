"""What the commands share that act on a sale over several lanes: `activity split` and `balance`.

Owns the connections to the lanes of a command, and what these two print.
"""

import time
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, close_old_connections

from seckill.config.layers import lane_addresses, load
from seckill.config.sections import ControlApi
from seckill.control import moves
from seckill.control.balance import Balancer, Round, on_the_way, rows_of
from seckill.control.sale import SaleControl
from seckill.control.whole_sale import WholeSale
from seckill.errors import PostgresAway, RedisAway, ServiceAway
from seckill.formats.lanes import MAIN, check_lane_name
from seckill.lane.client import connect
from seckill.management import base
from seckill.management.arguments import seconds
from seckill.process import exit_codes
from seckill.process.printable import json_text, printable
from seckill.process.shutdown import Shutdown

if TYPE_CHECKING:
    import redis

    from seckill.control.control import Once

# Seconds between two rounds of --watch.
WATCH_S = 1.0


class Clients:
    """The Redis of each lane, connected when it is asked for. Closed at the end of the `with`."""

    def __init__(self, section: ControlApi, options: dict[str, Any]) -> None:
        lane = options.get("lane", MAIN)
        of_main = section.redis_url if lane == MAIN else load(ControlApi).redis_url
        self._addresses = {**lane_addresses(of_main), lane: section.redis_url}
        self._open: dict[str, redis.Redis] = {}

    @property
    def lanes(self) -> list[str]:
        """The names of all configured lanes."""
        return list(self._addresses)

    def __call__(self, lane: str) -> "redis.Redis":
        """The client of a lane's Redis. Raises RedisAway if it is not configured."""
        if lane not in self._addresses:
            raise RedisAway(
                f"lane {lane} is not in section lanes of config.yaml", "is not known here"
            )
        if lane not in self._open:
            self._open[lane] = connect(self._addresses[lane])
        return self._open[lane]

    def __enter__(self) -> "Clients":
        return self

    def __exit__(self, *_error: object) -> None:
        for client in self._open.values():
            client.close()


def lanes_of(text: str, clients: Clients) -> list[str]:
    """The value of --lanes. Raises CommandError."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        try:
            check_lane_name(name)
        except ValueError as wrong:
            raise CommandError(f"--lanes: {wrong}", returncode=exit_codes.USAGE) from None
        if name not in clients.lanes:
            known = ", ".join(clients.lanes)
            raise CommandError(
                f"--lanes: there is no lane {name!r}; known: {known}", returncode=exit_codes.USAGE
            )
    return names


def tell_parts(command: base.Command, head: int) -> None:
    """A line for each part of a sale. Raises Refused, PostgresAway."""
    for row in rows_of(head):
        command.stdout.write(f"  part {row.part} of {row.parts}: activity {row.pk} in {row.lane}")


def sale_line(sale: WholeSale) -> str:
    """The sums of a split sale, and which lanes they are without."""
    where = f"without lane {', '.join(sale.without)}" if sale.without else "in all lanes"
    return (
        f"sale {sale.parts[0].row.pk} {where}: loaded {sale.loaded:,}, left {sale.left:,}, sold "
        f"{sale.sold:,}, on the way {sale.on_the_way:,}"
    )


def balance(
    command: base.Command, clients: Clients, actor: str, options: dict[str, Any], more: Any
) -> None:
    """One round, or with --watch rounds until every part is over. `more` is for each Control."""
    head: int = options["activity_id"]
    rows_of(head)

    def control_of(lane: str, who: str, once: "Once | None") -> SaleControl:
        return SaleControl(clients, who, lane, once=once, **more)

    every_s: float | None = options["watch"]
    balancer = Balancer(head, control_of, actor, watching=every_s is not None)
    if every_s is None:
        _tell(command, head, balancer.round(), as_json=options["json"])
        return
    told: list[str] = []
    with Shutdown() as shutdown:
        while not shutdown.requested:
            close_old_connections()
            try:
                done = balancer.round()
            except (PostgresAway, DatabaseError) as away:
                done = Round(waits=[str(away).strip().splitlines()[0]])
            # What waits is told once, not in every round.
            if done.moved or done.waits != told:
                _tell(command, head, done, as_json=options["json"], stamped=True)
            told = done.waits
            if done.over:
                command.stdout.write(_line("every part is over", stamped=True))
                return
            shutdown.wait(every_s)


def _tell(
    command: base.Command, head: int, done: Round, *, as_json: bool, stamped: bool = False
) -> None:
    if as_json:
        document = {
            "schema": 1,
            "activity_id": head,
            "moved": [
                {
                    "move": move.pk,
                    "from": move.source,
                    "to": move.target,
                    "units": move.units,
                    "state": move.state,
                }
                for move in done.moved
            ],
            "waits": done.waits,
            "over": done.over,
        }
        command.stdout.write(json_text(document, None if stamped else 2))
        command.stdout.flush()
        return
    for move in done.moved:
        command.stdout.write(_line(moves.told(move), stamped=stamped))
    for why in done.waits:
        command.stdout.write(_line(f"waits: {printable(why)}", stamped=stamped))
    if not (stamped or done.moved or done.waits):
        command.stdout.write("nothing to move")
    try:
        way = on_the_way(head)
    except ServiceAway:
        return
    if way:
        text = f"{way:,} units are on their way, on sale in no lane"
        command.stdout.write(_line(text, stamped=stamped))
    command.stdout.flush()


def _line(text: str, *, stamped: bool) -> str:
    return f"{time.strftime('%H:%M:%S')} {text}" if stamped else text


def add_verbs(commands: Any, activity_id: Any, act_flags: Any, connection_flags: Any) -> None:
    """The subcommands `split` and `balance`."""
    split: CommandParser = commands.add_parser(
        "split",
        help="put one sale on sale in several lanes",
        description="Divide a sale over lanes, before its first request: each lane gets its share "
        "of the units, and a buyer is always served by the same one. It cannot be undone. A repeat "
        "with the same lanes ends what was cut off.",
    )
    split.add_argument("activity_id", type=activity_id, help="the activity, which is in a lane")
    split.add_argument(
        "--lanes",
        required=True,
        metavar="NAME,...",
        help="all lanes of the sale, that of the activity among them, for example main,north",
    )
    act_flags(split)
    even: CommandParser = commands.add_parser(
        "balance",
        help="move units to the lanes of a split sale that run dry",
        description="Move unsold units of a split sale from lanes that have many to lanes that "
        "run dry, and end moves that were cut off. Safe to repeat, and beside another one.",
    )
    even.add_argument("activity_id", type=activity_id, help="the activity that was split")
    even.add_argument(
        "--watch",
        nargs="?",
        const=WATCH_S,
        type=seconds,
        metavar="SECONDS",
        help=f"repeat until every part is over (default: every {WATCH_S:.0f} s)",
    )
    even.add_argument("--note", default="", help="the reason, for the journal")
    base.add_json_flag(even)
    connection_flags(even)
