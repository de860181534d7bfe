"""`manage.py sync_from_db`: bring Redis in line with the database."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "Bring Redis in line with the database: left = allocation - sold for each item, never "
        "below 0. Orders that still wait to be stored count as sold. Repeating it changes nothing, "
        "even during a sale."
    )
    examples = ("",)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Sync it."""
        return control.sync_from_db(
            options["activity_id"], expected_version=options["expected_version"]
        )
