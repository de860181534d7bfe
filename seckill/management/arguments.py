"""Flags from configuration sections, and errors as people read them: for all commands."""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections

from seckill import exit_codes
from seckill.errors import ServiceAway
from seckill.fitness import Unfit
from seckill_project.addresses import django_database
from seckill_project.config import ENV_PREFIX, ConfigError, Section

# The parameter that says where a service is.
ADDRESSES = {"Kafka": "BROKERS", "Redis": "REDIS_URL", "PostgreSQL": "PG_DSN"}


def add_section_flags(parser: CommandParser, section: type[Section]) -> None:
    """A flag for each parameter of a section; an absent flag leaves the lower layers alone."""
    # Without it, argparse puts all flags before the one line that says what is wrong.
    parser.usage = "%(prog)s [flags]  (--help explains them)"
    group = parser.add_argument_group(
        f"parameters of section `{section.name}`",
        f"A flag wins over the environment ({ENV_PREFIX}NAME), which wins over the file.",
    )
    for name, field in section.model_fields.items():
        flag = "--" + name.replace("_", "-")
        meaning = field.description or next(
            (m.description for m in field.metadata if getattr(m, "description", None)), ""
        )
        default = field.get_default(call_default_factory=True, validated_data={})
        if field.repr and default not in (None, {}):
            meaning = f"{meaning} (default: {default})"
        if field.annotation is bool:
            action: Any = argparse.BooleanOptionalAction
            group.add_argument(flag, action=action, default=None, help=meaning.replace("%", "%%"))
        else:
            group.add_argument(flag, default=None, metavar="VALUE", help=meaning.replace("%", "%%"))


def section_flags(options: dict[str, Any], section: type[Section]) -> dict[str, Any]:
    """The section's part of a command's parsed options."""
    return {name: options.get(name) for name in section.model_fields}


def add_connection_flags(parser: CommandParser) -> None:
    """--redis-url and --pg-dsn, for commands that have no section of their own."""
    group = parser.add_argument_group("addresses", "Without them: environment, config.yaml.")
    group.add_argument("--redis-url", metavar="URL", help="Redis or Valkey")
    group.add_argument("--pg-dsn", metavar="DSN", help="PostgreSQL")


def add_supervision_flag(parser: CommandParser) -> None:
    """--stop-with-stdin, for workers that run below another process."""
    parser.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop when standard input ends: for a parent process that may be killed",
    )


def positive(text: str) -> int:
    """For a flag that takes a whole number above 0."""
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def use_database(dsn: str) -> None:
    """Let Django's models use the database of this command's flags. Before the first query."""
    connections["default"].close()
    connections["default"].settings_dict.update(django_database(dsn))


@contextmanager
def readable_errors() -> Iterator[None]:
    """What a user can mend ends as one line on stderr and an exit code, never as a traceback."""
    # Its own lines about each try would bury ours.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        yield
    except ConfigError as wrong:
        raise CommandError(str(wrong), returncode=exit_codes.USAGE) from None
    except Unfit as unfit:
        raise CommandError(str(unfit), returncode=exit_codes.USAGE) from None
    except ServiceAway as away:
        act = (
            f"Bring it back, or correct its address ({ENV_PREFIX}{ADDRESSES[away.service]}; "
            "manage.py devstack status shows the embedded services)"
        )
        text = f"{str(away).rstrip('.')}. {act}"
        raise CommandError(text, returncode=exit_codes.UNREACHABLE) from None
