"""`manage.py finish`: end a sale, even if units are left."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import CODES, ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "End a sale: every request from the next batch on is answered OVER, even if units are "
        f"left. reopen undoes it. The same act as finish_activity. Safe to repeat. {CODES}"
    )

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """End it."""
        return control.finish(options["activity_id"], expected_version=options["expected_version"])
