"""`manage.py finish`: end a sale, even if units are left."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "End a sale: every request from the next batch on is answered OVER, even if units are "
        "left. reopen undoes it. Safe to repeat."
    )
    examples = ("--activity-id 7",)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """End it."""
        return control.finish(options["activity_id"], expected_version=options["expected_version"])
