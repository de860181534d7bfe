"""`manage.py add_stock 1001:10,1002:5`: put more units on sale."""

from typing import Any

from django.core.management.base import CommandParser

from seckill.control.control import Act, Control
from seckill.management.acts import ActCommand, stock_of


class Command(ActCommand):
    """Parse, act, print."""

    help = (
        "Put more units of items on sale. The statistics continue. A sold-out sale opens again; a "
        "finished one stays finished (reopen opens it). If it runs twice it adds twice, unless "
        "--expected-version or --idempotency-key prevents that."
    )
    examples = ("1001:5 --idempotency-key refill-7",)

    def add_arguments(self, parser: CommandParser) -> None:
        """Items and units."""
        parser.add_argument(
            "stock", metavar="ITEM:UNITS,...", help="units to add, for example 1001:10,1002:5"
        )
        super().add_arguments(parser)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Add the units."""
        return control.add_stock(
            options["activity_id"], stock_of(options), expected_version=options["expected_version"]
        )
