"""What all of our commands share: the form of the help, errors as one line, our version.

A command says what it does (`help`), shows how (`examples`) and lists its exit codes (`codes`).
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, NoReturn

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)

from seckill import __version__
from seckill.formats.advice import in_lane
from seckill.formats.lanes import ALL, MAIN
from seckill.management.failures import readable_errors
from seckill.process import exit_codes
from seckill.process.printable import printable, without_addresses

# Codes that every command may end with.
EVERY_CODE = {
    exit_codes.USAGE: "wrong command line or configuration",
    exit_codes.SECOND_SIGNAL: "called off (Ctrl-C, or a second signal)",
}
# What a command that asks a service may end with.
AWAY = {exit_codes.UNREACHABLE: "a service is away, or refuses us (password, certificate, right)"}

# What a worker that runs until a signal may end with.
WORKER = {
    exit_codes.OK: "stopped, or drained",
    exit_codes.USAGE: "wrong command line or configuration, or a service that is not fit for a "
    "sale (version, policy or missing right)",
    exit_codes.UNREACHABLE: "a service could not be reached within --connect-timeout-s",
}


class Formatter(DjangoHelpFormatter):
    """Wraps a text of one line, and keeps the lines of any other. Usage shows our flags alone."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "\n".join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)

    def add_usage(self, usage: Any, actions: Any, *args: Any, **kwargs: Any) -> None:
        """See argparse."""
        ours = [action for action in actions if not _is_djangos(action)]
        super().add_usage(usage, ours, *args, **kwargs)


class Parser(CommandParser):
    """A parser that refuses abbreviated flags, and whose errors are safe to print."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": Formatter, **how})

    def error(self, message: str) -> NoReturn:
        """See argparse. The message repeats words of the command line."""
        super().error(printable(without_addresses(message)))
        raise AssertionError("argparse's error never returns")


class Command(BaseCommand):
    """A command of ours. Subclasses write through `self.stdout`, or through rich."""

    # Django's checks import every page. They depend on nothing but the code: `make lint` runs them.
    requires_system_checks: list[str] | tuple[str, ...] | Literal["__all__"] = []

    # Command lines without `manage.py NAME`, each with a comment or not.
    examples: ClassVar[Iterable[str]] = ()
    # {exit code: meaning}, beside EVERY_CODE.
    codes: ClassVar[Mapping[int, str]] = {}

    def get_version(self) -> str:
        """See Django."""
        return __version__

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """See Django."""
        how: dict[str, Any] = {
            "allow_abbrev": False,
            "formatter_class": Formatter,
            "epilog": self._epilog(subcommand),
            **kwargs,
        }
        parser = super().create_parser(prog_name, subcommand, **how)
        _put_djangos_last(parser)
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """See Django. What a person can mend is one line and an exit code."""
        try:
            with readable_errors():
                told: str | None = super().execute(*args, **options)
                return told
        except CommandError as wrong:
            wrong.args = (in_lane(str(wrong), _lane_of(options)),)
            raise

    def print_json(self, document: Mapping[str, Any]) -> None:
        """One JSON object on standard output, in plain ASCII, which every program takes."""
        self.stdout.write(json.dumps(document, indent=2, default=str))

    def _epilog(self, name: str) -> str:
        lines = []
        if self.examples:
            shown = (f"  manage.py {name} {line}".rstrip() for line in self.examples)
            lines += ["examples:", *shown, ""]
        lines += ["exit codes:"]
        codes = {exit_codes.OK: "done", **EVERY_CODE, **self.codes}
        lines += [f"  {code:<4} {codes[code]}" for code in sorted(codes)]
        return "\n".join(lines)


def _lane_of(options: Mapping[str, Any]) -> str:
    """The lane that a command works in. Of several lanes each tells its own errors."""
    lanes = options.get("lanes") or [options.get("lane") or MAIN]
    return lanes[0] if len(lanes) == 1 and lanes[0] != ALL else MAIN


def add_verbs(parser: CommandParser, dest: str, **how: Any) -> Any:
    """Subcommands of a command, in the same form."""
    return parser.add_subparsers(dest=dest, required=True, parser_class=Parser, **how)


def add_json_flag(parser: Any) -> None:
    """--json, for programs: docs/commands.md has the keys. A parser, or a group of flags."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object (docs/commands.md has its keys)"
    )


def _is_djangos(action: Any) -> bool:
    return bool(set(action.option_strings) & DjangoHelpFormatter.show_last)


def _put_djangos_last(parser: CommandParser) -> None:
    """Django's own flags become a group at the end. argparse has no other way to move a flag."""
    group = parser.add_argument_group("flags of every command")
    common = parser._optionals._group_actions
    group._group_actions.extend(filter(_is_djangos, common))
    common[:] = [action for action in common if not _is_djangos(action)]
