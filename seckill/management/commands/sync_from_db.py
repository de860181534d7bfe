"""`manage.py sync_from_db`: make Redis what the database says."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import CODES, ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "Make Redis what the database says: left = allocation - sold for each item, never below 0; "
        "orders that still wait to be stored are counted. Repeating it changes nothing, in the "
        f"middle of a sale too. {CODES}"
    )

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Sync it."""
        return control.sync_from_db(
            options["activity_id"], expected_version=options["expected_version"]
        )
