"""`manage.py` itself: the list of commands, and what holds for Django's own commands too."""

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from django.core.management import ManagementUtility, get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from seckill import __version__
from seckill.management.failures import readable_errors
from seckill.process import exit_codes
from seckill.process.logs import named
from seckill.process.printable import printable, without_addresses
from seckill.process.streams import ReaderGone, end_as_unread, prepare
from seckill.process.terminal import made_printable

# Packages with commands of ours.
OURS = ("seckill", "loadgen", "devstack", "bench", "demo")
# Other names of commands, kept for scripts and not listed.
ALIASES = ("finish_activity",)
# Commands that run without Django's set-up, settings and models: they start in half the time.
BARE = ("healthy",)


def run(argv: list[str]) -> NoReturn:
    """Run a command and end the process with its exit code. Raises ConfigError."""
    code: Any = exit_codes.OK
    try:
        Utility(argv).execute()
    except ReaderGone:
        end_as_unread()
    except SystemExit as ended:
        code = ended.code
    try:
        # Here and not at the interpreter's end, which would complain if nobody reads.
        sys.stdout.flush()
    except ReaderGone:
        if code in (None, exit_codes.OK):
            end_as_unread()
    sys.exit(code)


def run_with(name: str, options: Mapping[str, Any]) -> NoReturn:
    """The same for a command whose parent, a process of the same command, has read its options."""
    prepare()
    command = Utility(["manage.py", name]).fetch_command(name)
    code: Any = exit_codes.OK
    try:
        command.execute(**options)
    except CommandError as wrong:
        command.stderr.write(named(f"{type(wrong).__name__}: {wrong}"))
        code = wrong.returncode
    except SystemExit as ended:
        code = ended.code
    finally:
        connections.close_all()
    sys.exit(code)


class Utility(ManagementUtility):
    """Django's utility, with our commands first, and our version."""

    def execute(self) -> None:
        """See Django."""
        if self.argv[1:] in (["version"], ["--version"]):
            sys.stdout.write(f"{__version__}\n")
            return
        if self.argv[1:] and self.argv[1] in BARE:
            # Without it Django leaves its settings alone.
            os.environ.pop("DJANGO_SETTINGS_MODULE", None)
            _made_safe(load_command_class("seckill", self.argv[1])).run_from_argv(self.argv)
            return
        super().execute()

    def main_help_text(self, commands_only: bool = False) -> str:
        """The commands: ours with what they do, then Django's."""
        found = {name: app for name, app in get_commands().items() if name not in ALIASES}
        if commands_only:
            return "\n".join(sorted(found))
        ours = sorted(name for name, app in found.items() if _is_ours(str(app)))
        lines = [f"Flash sale {__version__}", ""]
        lines += [f"  {name:<20}{_purpose(self.fetch_command(name))}" for name in ours]
        lines += ["", "Of Django and its libraries:"]
        others = sorted(set(found) - set(ours))
        lines += [f"  {' '.join(others[n : n + 6])}" for n in range(0, len(others), 6)]
        lines += ["", f"{self.prog_name} COMMAND --help explains one: flags, examples, exit codes."]
        return "\n".join(lines)

    def fetch_command(self, subcommand: str) -> BaseCommand:
        """See Django. A command that does not exist is a wrong command line."""
        try:
            command = super().fetch_command(subcommand)
        except SystemExit:
            sys.exit(exit_codes.USAGE)
        return _made_safe(command)


def _made_safe(command: BaseCommand) -> BaseCommand:
    """The command, with output that is safe to print and errors as one line."""
    name = type(command).__module__
    if _is_ours(name):
        command.stdout = made_printable(command.stdout, sys.stdout)
        command.stderr = made_printable(command.stderr, sys.stderr)
    elif not name.endswith(".runserver"):
        command.execute = partial(_execute, command.execute)  # type: ignore[method-assign]
    command.create_parser = partial(_create_parser, command.create_parser)  # type: ignore[method-assign]
    return command


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS


def _purpose(command: BaseCommand) -> str:
    """The first sentence of its help."""
    first = command.help.strip().partition(". ")[0].splitlines()[0].rstrip(".")
    room = max(40, shutil.get_terminal_size().columns - 22)
    return textwrap.shorten(first, room, placeholder=" ...")


def _execute(execute: Any, *args: Any, **options: Any) -> Any:
    with readable_errors():
        return execute(*args, **options)


def _create_parser(create: Any, *args: Any, **kwargs: Any) -> CommandParser:
    """A parser whose errors are safe to print, though they repeat words of the command line."""
    parser: CommandParser = create(*args, **{"allow_abbrev": False, **kwargs})
    tell = parser.error
    parser.error = lambda message: tell(printable(without_addresses(message)))  # type: ignore[method-assign]
    return parser
