"""`manage.py activity create|show|list|set|split|balance`: sales and their rules."""

import argparse
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from seckill.config.layers import lane_addresses
from seckill.control.checks import FIELDS
from seckill.control.control import NoSuchActivity
from seckill.control.sale import SaleControl
from seckill.control.whole_sale import WholeSale, whole_sale
from seckill.errors import RedisAway
from seckill.formats.lanes import MAIN
from seckill.lane.client import connect
from seckill.lane.keys import Lane
from seckill.lane.status import LaneStatus, read_lane
from seckill.management import base
from seckill.management.acts import (
    CODES,
    activity_number,
    add_act_flags,
    addresses,
    control_of,
    control_settings,
    refusals,
    shell_actor,
    stock_of,
    tell,
)
from seckill.management.arguments import add_connection_flags
from seckill.management.over_lanes import (
    Clients,
    add_verbs,
    balance,
    lanes_of,
    sale_line,
    tell_parts,
)
from seckill.models import Activity
from seckill.monitoring.status_table import state_text
from seckill.process import exit_codes

# The value of a flag that removes a value.
NONE = "none"
# The most activities that `list` shows.
MOST = 1_000


class Command(base.Command):
    """Parse, act or look, print."""

    help = (
        "Create, show and change sales. `create` with --stock puts it on sale in the same act; "
        "without, set_stock does. `set` changes window, limit, timeout, hold and name; in a "
        "running sale this applies from the next batch on. `split` and `balance` are for one sale "
        "over several lanes."
    )
    examples = (
        'create --name "First sale" --user-limit 2 --stock 1001:10,1002:5',
        "set 7 --hold 600",
        "set 7 --opens-at 2026-11-11T20:00+08:00 --timeout-ms 5000",
        "show 7 --json",
        "split 7 --lanes main,north",
        "balance 7 --watch",
        "list",
    )
    codes = CODES

    def add_arguments(self, parser: CommandParser) -> None:
        """One subcommand each."""
        commands = base.add_verbs(parser, "what", metavar="create|show|list|set|split|balance")
        make = commands.add_parser("create", help="create a sale", description="Create a sale.")
        make.add_argument(
            "activity_id", nargs="?", type=activity_number, help="its id (default: the next one)"
        )
        make.add_argument(
            "--stock",
            metavar="ITEM:UNITS,...",
            help="put these on sale, for example 1001:10,1002:5",
        )
        _add_fields(make)
        add_act_flags(make)
        change = commands.add_parser(
            "set",
            help="change window, limit, timeout, hold, name",
            description="Change a sale. Fields without a flag do not change.",
        )
        change.add_argument("activity_id", type=activity_number, help="the activity")
        _add_fields(change)
        add_act_flags(change)
        show = commands.add_parser("show", help="show one sale", description="Show one sale.")
        show.add_argument("activity_id", type=activity_number, help="the activity")
        base.add_json_flag(show)
        add_connection_flags(show)
        every = commands.add_parser("list", help="list all sales", description="List all sales.")
        base.add_json_flag(every)
        add_connection_flags(every)
        add_verbs(commands, activity_number, add_act_flags, add_connection_flags)

    def handle(self, *args: Any, **options: Any) -> None:
        """Connect, act or look, print."""
        section = addresses(options)
        if options["what"] in ("create", "set", "split", "balance"):
            with Clients(section, options) as clients, refusals():
                if options["what"] == "balance":
                    balance(self, clients, shell_actor(), options, control_settings(options))
                elif options["what"] == "split":
                    self._split(clients, options)
                else:
                    self._change(control_of(clients, options), options)
        else:
            with refusals():
                self._show(lane_addresses(section.redis_url), options)

    def _split(self, clients: Clients, options: dict[str, Any]) -> None:
        done = control_of(clients, options).split(
            options["activity_id"],
            lanes_of(options["lanes"], clients),
            expected_version=options["expected_version"],
        )
        tell(self, done, as_json=options["json"])
        if not options["json"]:
            tell_parts(self, options["activity_id"])

    def _change(self, control: SaleControl, options: dict[str, Any]) -> None:
        fields = {name: options[name] for name in FIELDS if options[name] is not UNSET}
        if options["what"] == "create":
            if options["expected_version"] not in (None, 0):
                raise CommandError(
                    "--expected-version: a new activity has none", returncode=exit_codes.USAGE
                )
            stock = None if options["stock"] is None else stock_of(options)
            done = control.create(options["activity_id"], stock, **fields)
        else:
            done = control.configure_fields(
                options["activity_id"], expected_version=options["expected_version"], **fields
            )
        tell(self, done, as_json=options["json"], others=control.others)

    def _show(self, redis_of: dict[str, str], options: dict[str, Any]) -> None:
        """Each in its own lane. `redis_of`: the Redis of each configured lane."""
        activity_id: int | None = options.get("activity_id")
        rows = Activity.objects.order_by("pk")
        if activity_id is not None:
            rows = rows.filter(pk=activity_id)
        found = list(rows[:MOST])
        if activity_id is not None and not found:
            raise NoSuchActivity(f"activity {activity_id} is not known; activity list shows all")

        def lane_now(name: str) -> LaneStatus:
            return _lane_now(name, redis_of)

        lanes = {name: lane_now(name) for name in {MAIN, *(row.lane for row in found)}}
        head = None if activity_id is None else found[0].part_of
        sale = None if head is None else whole_sale(head, lane_now)
        if options["json"]:
            self._print(found, lanes, sale, one=activity_id is not None)
            return
        if sale is not None and head == activity_id:
            for part in sale.parts:
                self._tell(part.row, part.lane, items=True)
        else:
            for row in found:
                self._tell(row, lanes[row.lane], items=activity_id is not None)
        if sale is not None:
            self.stdout.write(sale_line(sale))
        if not found:
            self.stdout.write(
                "there is no activity yet; manage.py set_stock or manage.py activity create makes "
                "one"
            )
        if len(found) == MOST:
            self.stdout.write(f"only the first {MOST:,} are shown")

    def _tell(self, row: Activity, lane: LaneStatus | None, *, items: bool) -> None:
        """A line of one activity, and with `items` one for each of its items."""
        self.stdout.write(_line(row, lane))
        status = lane.activities.get(row.pk) if lane else None
        for item in status.items.values() if items and status else ():
            self.stdout.write(f"  item {item.item_id}: left {item.left:,}, sold {item.sold:,}")

    def _print(
        self,
        found: list[Activity],
        lanes: dict[str, LaneStatus],
        sale: WholeSale | None,
        *,
        one: bool,
    ) -> None:
        """The same as JSON, in the API's words."""
        # Here, since it brings the whole API, which most commands do without.
        from seckill.web.api.v1.schemas import ActivityRow

        rows = [
            ActivityRow.of(row, lanes[row.lane].activities.get(row.pk), sale).model_dump(
                mode="json"
            )
            for row in found
        ]
        self.print_json({"schema": 1, **rows[0]} if one else {"schema": 1, "activities": rows})


def _lane_now(name: str, redis_of: dict[str, str]) -> LaneStatus:
    """A lane as it is now. Raises RedisAway."""
    if name not in redis_of:
        raise RedisAway(f"lane {name} is not in section lanes of config.yaml", "is not known here")
    with connect(redis_of[name]) as client:
        return read_lane(client, Lane.named(name))


class _Unset:
    """A flag that was not given: not the same as `none`."""


UNSET = _Unset()


def _add_fields(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("fields", f"`{NONE}` removes a value.")
    group.add_argument("--name", default=UNSET, help="its name for people")
    group.add_argument(
        "--opens-at", type=_moment, default=UNSET, metavar="TIME",
        help="for example 2026-11-11T20:00+08:00; requests before it are NOT_OPEN",
    )  # fmt: skip
    group.add_argument(
        "--closes-at", type=_moment, default=UNSET, metavar="TIME",
        help="the same; requests from then on are NOT_OPEN",
    )  # fmt: skip
    group.add_argument(
        "--user-limit", type=_number, default=UNSET, metavar="UNITS",
        help="the most units that one user gets, including units bought earlier",
    )  # fmt: skip
    group.add_argument(
        "--timeout-ms", type=_number, default=UNSET, metavar="MS",
        help="older requests are EXPIRED",
    )  # fmt: skip
    group.add_argument(
        "--hold", dest="hold_s", type=_number, default=UNSET, metavar="SECONDS",
        help="an accepted request is held for so long and then paid, or its units are on sale "
        "again; needs run_settler",
    )  # fmt: skip


def _moment(text: str) -> datetime | None:
    if text == NONE:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write 2026-11-11T20:00+08:00, or {NONE}"
        ) from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} has no time zone, so the sale could open hours off: "
            "write 2026-11-11T20:00+08:00"
        )
    return moment


def _number(text: str) -> int | None:
    if text == NONE:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number; {NONE} removes the value"
        )
    return int(text)


def _line(row: Activity, lane: LaneStatus | None) -> str:
    status = lane.activities.get(row.pk) if lane else None
    parts = [f"activity {row.pk}" + (f" {row.name!r}" if row.name else "")]
    if row.lane != MAIN:
        parts.append(f"lane {row.lane}")
    if row.part_of is not None:
        parts.append(f"part {row.part} of {row.parts} of sale {row.part_of}")
    if row.archived_at is not None:
        parts.append(f"archived, its orders are in {row.archived_in}")
    elif lane is None:
        parts.append("its Redis is away")
    elif status is None:
        parts.append("not loaded in Redis")
    else:
        left = status.left
        sold = status.sold
        parts += [
            state_text(status, lane.now_ms),
            f"version {status.version}",
            f"left {left:,}",
            f"sold {sold:,}",
        ]
    for name in ("opens_at", "closes_at"):
        moment = getattr(row, name)
        if moment is not None:
            parts.append(f"{name.replace('_', ' ')} {moment.isoformat(timespec='seconds')}")
    if row.user_limit is not None:
        parts.append(f"limit {row.user_limit:,} per user")
    if row.timeout_ms is not None:
        parts.append(f"timeout {row.timeout_ms:,} ms")
    if row.hold_s is not None:
        parts.append(f"held for {row.hold_s:,} s")
    return " | ".join(parts)
