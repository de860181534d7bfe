"""For all commands: flags from configuration sections, and of addresses."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections

from seckill.config.addresses import django_database
from seckill.config.layers import lane_names
from seckill.config.sections import ENV_PREFIX, UNITS, Section, flag_of, is_secret
from seckill.formats.lanes import ALL, MAIN
from seckill.process import exit_codes

# Flags of addresses: the form of the value, and the meaning.
ADDRESS_FLAGS = {
    "redis_url": ("URL", "Redis or Valkey"),
    "pg_dsn": ("DSN", "PostgreSQL"),
    "brokers": ("HOST:PORT,...", "Kafka"),
    "topic": ("NAME", "topic of the requests"),
}
# Parameters that each lane has of its own.
OF_ONE_LANE = ("redis_url", "topic", "group_id")
STORE_FLAGS = ("redis_url", "pg_dsn")
KAFKA_FLAGS = ("brokers", "topic")


def add_section_flags(parser: CommandParser, section: type[Section]) -> None:
    """A flag for each parameter of a section that is no secret.

    An absent flag leaves the lower layers in effect.
    """
    # Otherwise argparse prints all flags before the one line that says what is wrong.
    parser.usage = "%(prog)s [flags]  (--help explains them)"
    group = parser.add_argument_group(
        f"parameters of section `{section.name}`",
        f"A flag overrides the environment ({ENV_PREFIX}NAME), which overrides the file.",
    )
    shapes = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        if is_secret(section, name):
            continue
        flag = flag_of(name)
        meaning = field.description or next(
            (m.description for m in field.metadata if getattr(m, "description", None)), ""
        )
        default = field.get_default(call_default_factory=True, validated_data={})
        if field.repr and default not in (None, {}, ""):
            meaning = f"{meaning} (default: {default})"
        if field.annotation is bool:
            action: Any = argparse.BooleanOptionalAction
            group.add_argument(flag, action=action, default=None, help=meaning.replace("%", "%%"))
        else:
            group.add_argument(
                flag, dest=name, default=None, metavar=_form(name, shapes[name]),
                help=meaning.replace("%", "%%"),
            )  # fmt: skip
            add_alias(group, "--" + name.replace("_", "-"), name)


def _form(name: str, shape: dict[str, Any]) -> str:
    """What stands for a flag's value in the help: its choices, its unit, or a word."""
    for each in (shape, *shape.get("anyOf", ())):
        if "enum" in each:
            return "{" + ",".join(each["enum"]) + "}"
    return UNITS.get(name, "VALUE").upper()


def add_alias(
    group: argparse._ActionsContainer, flag: str, dest: str, kind: Callable[[str], Any] = str
) -> None:
    """An earlier name of a flag: it works, and help does not show it."""
    if flag not in group._option_string_actions:
        group.add_argument(
            flag, dest=dest, type=kind, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def section_flags(options: dict[str, Any], section: type[Section]) -> dict[str, Any]:
    """The section's part of a command's parsed options."""
    return {name: options.get(name) for name in section.model_fields}


def add_address_flags(parser: CommandParser, *names: str) -> None:
    """Flags of section `server` that say where the services are, for commands that need no other.

    The values come from `section_flags(options, Server)`: what a command has no flag for is absent.
    """
    group = parser.add_argument_group(
        "addresses", "By default from the environment or config.yaml."
    )
    for name in names:
        metavar, meaning = ADDRESS_FLAGS[name]
        group.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=meaning)


def add_connection_flags(parser: CommandParser) -> None:
    """--redis-url and --pg-dsn, for commands without a section of their own."""
    add_address_flags(parser, *STORE_FLAGS)


def add_lane_flag(parser: CommandParser) -> None:
    """--lane, for all that works in one lane. `load` refuses one that is not configured."""
    parser.add_argument(
        "--lane",
        default=MAIN,
        metavar="NAME",
        help="the lane, of section `lanes` in config.yaml (default: %(default)s)",
    )


def add_lanes_flag(parser: CommandParser, absent: str = MAIN) -> None:
    """--lane, several times or `all`, for what works in several. See `lanes_of`."""
    parser.add_argument(
        "--lane",
        action="append",
        dest="lanes",
        metavar="NAME",
        help="the lane, of section `lanes` in config.yaml; may be given several times, and "
        f"`{ALL}` means every lane (default: {absent})",
    )


def lanes_of(options: Mapping[str, Any], absent: str = MAIN) -> list[str]:
    """The lanes that --lane names, each once. Raises ConfigError."""
    named = list(dict.fromkeys(options["lanes"] or [absent]))
    return lane_names() if ALL in named else named


def refuse_for_several(
    lanes: Sequence[str], options: Mapping[str, Any], also: Sequence[str] = ()
) -> None:
    """Raises CommandError for a flag that means something in one lane, where there are several."""
    for name in (*OF_ONE_LANE, *also) if len(lanes) > 1 else ():
        if options.get(name) not in (None, False):
            raise CommandError(
                f"{flag_of(name)} is of one lane, and this command works in {', '.join(lanes)}: "
                "give it with one --lane",
                returncode=exit_codes.USAGE,
            )


def add_supervision_flag(parser: CommandParser) -> None:
    """--stop-with-stdin, for workers that another process starts."""
    parser.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop when standard input is closed, so that a killed parent leaves no worker behind",
    )


def add_drain_flags(parser: CommandParser, when: str) -> None:
    """--drain and --drain-limit-s, for workers on a topic."""
    parser.add_argument("--drain", action="store_true", help=f"end when {when}")
    parser.add_argument(
        "--drain-limit-s",
        dest="drain_limit",
        type=_drain_seconds,
        metavar="SECONDS",
        help="with --drain: end after this time at the latest, with exit code 4 and the reason "
        "(default: no limit)",
    )
    add_alias(parser, "--drain-limit", "drain_limit", _drain_seconds)


def _drain_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: seconds above 0")
    return seconds


def positive(text: str) -> int:
    """The value of a flag that takes a whole number above 0."""
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def use_database(dsn: str) -> None:
    """Make Django's models use the database of this command's flags. Call before any query."""
    connections["default"].close()
    connections["default"].settings_dict.update(django_database(dsn))


def seconds(text: str) -> float:
    """A time from the command line, in seconds."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.1 <= number <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds, 0.1 to 86400")
    return number
