"""`manage.py add_stock 1001:10,1002:5`: put more units on sale."""

from typing import Any

from django.core.management.base import CommandParser

from seckill.control.control import Act, Control
from seckill.management.acts import CODES, ActCommand, stock_of


class Command(ActCommand):
    """Parse, act, print."""

    help = (
        "Put more units of items on sale. The statistics go on; what was sold out is open again, "
        "what was finished stays finished (reopen opens it). Run twice it adds twice, unless "
        f"--expected-version or --idempotency-key guards it. {CODES}"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Items and units."""
        parser.add_argument(
            "stock", metavar="ITEM:UNITS,...", help="units that come in addition: 1001:10,1002:5"
        )
        super().add_arguments(parser)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Add the units."""
        return control.add_stock(
            options["activity_id"], stock_of(options), expected_version=options["expected_version"]
        )
