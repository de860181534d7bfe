"""`manage.py set_stock 1001:10,1002:5`: set the units left of items."""

from typing import Any

from django.core.management.base import CommandParser

from seckill.control.control import Act, Control
from seckill.management.acts import ActCommand, stock_of


class Command(ActCommand):
    """Parse, act, print."""

    help = (
        "Set how many units of items are left from now on. Sold units stay sold, the statistics "
        "start again, a sale that was over is open again, and other items stay as they are. To add "
        "units use add_stock."
    )
    examples = (
        "1001:10,1002:5",
        "1001:10 --activity-id 7 --expected-version 4 --json",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Items and units."""
        parser.add_argument("stock", metavar="ITEM:UNITS,...", help="for example 1001:10,1002:5")
        super().add_arguments(parser)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Set the stock."""
        return control.set_stock(
            options["activity_id"], stock_of(options), expected_version=options["expected_version"]
        )
