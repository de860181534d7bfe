"""What the operators' commands share: addresses, the actor, the output."""

import argparse
import getpass
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from pydantic import TypeAdapter, ValidationError

from seckill.config.kinds import Stock
from seckill.config.layers import load
from seckill.config.sections import ControlApi, Settler
from seckill.control.control import Act, Control, Once, Refused
from seckill.control.sale import SaleControl
from seckill.formats.lanes import MAIN
from seckill.formats.outcomes import DEFAULT_ACTIVITY, MAX_ID
from seckill.management import base
from seckill.management.arguments import add_connection_flags, add_lane_flag, use_database
from seckill.management.over_lanes import Clients
from seckill.process import exit_codes
from seckill.process.printable import given, printable

CODES = {**base.AWAY, exit_codes.FAILED: "refused, and nothing was changed"}


def activity_number(text: str) -> int:
    """An activity's id from the command line."""
    known = text.isascii() and text.isdigit() and len(text) <= 19
    if not (known and 1 <= int(text) <= MAX_ID):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 2^63-1")
    return int(text)


def version_number(text: str) -> int:
    """An activity's version from the command line."""
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise argparse.ArgumentTypeError(f"{text!r} is not a version: a whole number from 0")
    return int(text)


def shell_actor() -> str:
    """The actor of shell commands, as the journal names it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # An account without a name, as in containers.
        name = f"uid-{os.getuid()}"
    return f"shell:{printable(given(name))}"


def addresses(options: dict[str, Any]) -> ControlApi:
    """Section control_api with the command's addresses. Django's models then use its database.

    Raises ConfigError.
    """
    flags = {"redis_url": options["redis_url"], "pg_dsn": options["pg_dsn"]}
    section = load(ControlApi, flags, lane=options.get("lane", MAIN))
    use_database(section.pg_dsn)
    return section


@contextmanager
def refusals() -> Iterator[None]:
    """A refusal becomes one line and its exit code."""
    try:
        yield
    except Refused as refused:
        raise CommandError(
            f"refused, nothing was changed: {refused}", returncode=exit_codes.FAILED
        ) from None


def add_act_flags(parser: CommandParser) -> None:
    """The flags of every act: expected version, idempotency key, note, addresses."""
    parser.add_argument(
        "--expected-version",
        type=version_number,
        metavar="V",
        help="refuse if the activity has another version (manage.py status shows it), because "
        "somebody else has acted since you looked",
    )
    parser.add_argument(
        "--idempotency-key",
        metavar="KEY",
        help="identify this act: repeated with the same key it is done only once, and gives the "
        "same answer; for scripts that repeat after a lost answer",
    )
    parser.add_argument("--note", default="", help="the reason, for the journal")
    base.add_json_flag(parser)
    add_lane_flag(parser)
    add_connection_flags(parser)


def control_of(clients: Clients, options: dict[str, Any]) -> SaleControl:
    """Control for the shell's user, with the flags of every act."""
    key, once = options["idempotency_key"], None
    if key is not None:
        if not re.fullmatch(r"[!-~]{1,100}", key):
            raise CommandError(
                "--idempotency-key: 1 to 100 characters without spaces", returncode=exit_codes.USAGE
            )
        once = Once(key, hashlib.sha256(" ".join(sys.argv[1:]).encode()).hexdigest())
    return SaleControl(
        clients, shell_actor(), options["lane"], once=once, **control_settings(options)
    )


def control_settings(options: dict[str, Any]) -> dict[str, Any]:
    """What every Control of a command is made with."""
    return {"note": options["note"], "expired_gives_back": load(Settler).expired_gives_back}


def stock_of(options: dict[str, Any]) -> dict[int, int]:
    """The argument ITEM:UNITS,... of a command. Raises CommandError."""
    try:
        stock: dict[int, int] = TypeAdapter(Stock).validate_python(options["stock"])
    except ValidationError as wrong:
        first = wrong.errors()[0]
        item = f"item {first['loc'][0]}: " if first["loc"] else ""
        reason = item + first["msg"].removeprefix("Value error, ")
        raise CommandError(reason, returncode=exit_codes.USAGE) from None
    if not stock:
        raise CommandError("no item is given: 1001:10,1002:5", returncode=exit_codes.USAGE)
    return stock


class ActCommand(base.Command):
    """A command that does one act through Control and prints what it changed."""

    codes = CODES

    def add_arguments(self, parser: CommandParser) -> None:
        """The activity, and the flags of every act."""
        parser.add_argument(
            "--activity-id",
            type=activity_number,
            default=DEFAULT_ACTIVITY,
            metavar="N",
            help="the activity (default: %(default)s)",
        )
        add_act_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Connect, act, print."""
        section = addresses(options)
        with Clients(section, options) as clients, refusals():
            control = control_of(clients, options)
            act = self.act(control, options)
        tell(self, act, as_json=options["json"], others=control.others)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Do it. Raises Refused, RedisAway, PostgresAway."""
        raise NotImplementedError


def tell(command: base.Command, act: Act, *, as_json: bool, others: Sequence[Act] = ()) -> None:
    """Print what an act did: for people, or as the API answers it. `others`: in other lanes."""
    if as_json:
        # Here, since it brings the whole API, which most commands do without.
        from seckill.web.api.schemas import ActOut

        done, *more = (
            {**ActOut.of(each).model_dump(mode="json"), "repeated": each.repeated}
            for each in (act, *others)
        )
        command.print_json({"schema": 1, **done, "others": more})
        return
    for line in (line for each in (act, *others) for line in lines(each)):
        command.stdout.write(line)


def lines(act: Act) -> list[str]:
    """What an act did, one line for each value that changed."""
    changed = [
        f"  {name}: {_shown(name, act.old.get(name))} -> {_shown(name, value)}"
        for name, value in act.new.items()
    ]
    head = f"{act.act}: activity {act.activity_id}, version {act.version}, journal {act.journal_id}"
    if act.repeated:
        head += " (repeated: it was done before, and nothing changed now)"
    return [head, *changed]


def _shown(name: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in ("opens_at", "closes_at"):
        return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="seconds")
    return f"{value:,}" if isinstance(value, int) else printable(str(value))
