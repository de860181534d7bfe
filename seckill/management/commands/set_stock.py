"""`manage.py set_stock 1001:10,1002:5`: put items at so many units from now on."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from pydantic import TypeAdapter, ValidationError

from seckill import exit_codes
from seckill.control import Act, Control
from seckill.management.acts import CODES, ActCommand
from seckill_project.config import Stock


class Command(ActCommand):
    """Parse, act, print."""

    help = (
        "Put items at so many units from now on. What was sold stays sold, the statistics start "
        f"again, a sale that was over is open again, other items stay as they are. {CODES}"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Items and units."""
        parser.add_argument("stock", metavar="ITEM:UNITS,...", help="as in 1001:10,1002:5")
        super().add_arguments(parser)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Set the stock."""
        try:
            stock: dict[int, int] = TypeAdapter(Stock).validate_python(options["stock"])
        except ValidationError as wrong:
            first = wrong.errors()[0]
            item = f"item {first['loc'][0]}: " if first["loc"] else ""
            reason = item + first["msg"].removeprefix("Value error, ")
            raise CommandError(reason, returncode=exit_codes.USAGE) from None
        if not stock:
            raise CommandError("no item is named: 1001:10,1002:5", returncode=exit_codes.USAGE)
        return control.set_stock(options["activity_id"], stock)
