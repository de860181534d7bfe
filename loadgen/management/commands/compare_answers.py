"""`manage.py compare_answers FILE`: what buyers were told, against the orders in PostgreSQL."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from loadgen.http.compare import compare
from seckill.config.layers import load
from seckill.config.sections import Server
from seckill.management import base
from seckill.management.arguments import add_address_flags, section_flags
from seckill.process import exit_codes

# Wrong answers that are shown.
SHOWN = 20


class Command(base.Command):
    """Compare, say."""

    help = (
        "Hold the answers that buyers were given against the orders in PostgreSQL: nobody with an "
        "order was told no, nobody without one was told yes, and no click has two. FILE is from "
        "run_loadgen --http URL --answers FILE. Run it once the log worker has stored everything: "
        "an order that is not stored yet is missed here."
    )
    examples = ("told.jsonl",)
    codes = {
        **base.AWAY,
        exit_codes.OK: "every answer agrees with the orders",
        exit_codes.FAILED: "an answer is wrong, or the file has none",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, and PostgreSQL."""
        parser.add_argument("file", type=Path, metavar="FILE", help="the answers")
        base.add_json_flag(parser)
        add_address_flags(parser, "pg_dsn")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code as in the help."""
        found = compare(options["file"], load(Server, section_flags(options, Server)).pg_dsn)
        good = found.compared > 0 and not found.wrong
        if options["json"]:
            self.print_json(
                {
                    "schema": 1,
                    "agrees": good,
                    "compared": found.compared,
                    "states": found.states,
                    "clicks_with_orders": len(found.ordered),
                    "wrong": found.wrong,
                }
            )
        else:
            states = ", ".join(f"{count:,} {state}" for state, count in found.states.items())
            self.stdout.write(f"answers: {states or 'none'}")
            self.stdout.write(f"clicks with an order: {len(found.ordered):,}")
            for line in found.wrong[:SHOWN]:
                self.stdout.write(f"WRONG: {line}")
            if len(found.wrong) > SHOWN:
                self.stdout.write(f"and {len(found.wrong) - SHOWN:,} more that are wrong")
            self.stdout.write(
                f"every one of {found.compared:,} answers agrees with the orders"
                if good
                else "the answers do not agree with the orders"
                if found.wrong
                else "there is no answer to compare"
            )
        if not good:
            raise SystemExit(exit_codes.FAILED)
