"""What the commands of operators have in common: where the sale is, who acts, what is printed."""

import argparse
import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError, ProgrammingError

from seckill import exit_codes
from seckill.control import Act, Control, Refused
from seckill.errors import PostgresAway
from seckill.management.arguments import add_connection_flags, readable_errors, use_database
from seckill.redis_client import connect
from seckill.wire import DEFAULT_ACTIVITY, MAX_ID
from seckill_project.config import ControlApi, load

CODES = (
    "Exit codes: 0 done, 1 refused and nothing changed, 2 wrong command line or configuration, "
    "3 Redis or PostgreSQL could not be reached."
)


def activity_number(text: str) -> int:
    """An activity's number from the command line."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= MAX_ID):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 2^63-1")
    return int(text)


def shell_actor() -> str:
    """Who acts from the shell, as the journal names it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # An account without a name, as containers have.
        name = f"uid-{os.getuid()}"
    return f"shell:{name}"


def addresses(options: dict[str, Any]) -> ControlApi:
    """Section control_api with the command's addresses; Django's models use its database.

    Raises ConfigError.
    """
    section = load(ControlApi, {"redis_url": options["redis_url"], "pg_dsn": options["pg_dsn"]})
    use_database(section.pg_dsn)
    return section


@contextmanager
def database_errors() -> Iterator[None]:
    """PostgreSQL's errors that a user can mend, as PostgresAway or one line."""
    try:
        yield
    except (OperationalError, InterfaceError) as away:
        raise PostgresAway(str(away).strip().splitlines()[0]) from None
    except ProgrammingError as wrong:
        if getattr(wrong.__cause__, "sqlstate", None) not in (UNDEFINED_TABLE, UNDEFINED_COLUMN):
            raise
        raise CommandError(NO_TABLES, returncode=exit_codes.USAGE) from None


UNDEFINED_TABLE, UNDEFINED_COLUMN = "42P01", "42703"
NO_TABLES = "PostgreSQL has no tables of this project, or older ones: run manage.py migrate"


class ActCommand(BaseCommand):
    """A command that does one act through Control and prints what it changed."""

    def add_arguments(self, parser: CommandParser) -> None:
        """The activity and the addresses."""
        parser.add_argument(
            "--activity-id",
            type=activity_number,
            default=DEFAULT_ACTIVITY,
            metavar="N",
            help="the activity (default: %(default)s)",
        )
        add_connection_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Connect, act, print."""
        with readable_errors():
            section = addresses(options)
            client = connect(section.redis_url)
            try:
                with database_errors():
                    act = self.act(Control(client, shell_actor()), options)
            except Refused as refused:
                raise CommandError(
                    f"refused, nothing was changed: {refused}", returncode=exit_codes.FAILED
                ) from None
            finally:
                client.close()
        for line in lines(act):
            self.stdout.write(line)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Do it. Raises Refused, RedisAway, PostgresAway."""
        raise NotImplementedError


def lines(act: Act) -> list[str]:
    """What an act did, a line for each thing that it names."""
    changed = [
        f"  {name}: {_shown(act.old.get(name))} -> {_shown(value)}"
        for name, value in act.new.items()
    ]
    head = f"{act.act}: activity {act.activity_id}, version {act.version}, journal {act.journal_id}"
    return [head, *changed]


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
