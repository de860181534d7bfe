"""`manage.py finish_activity`: end a sale, even if units are left."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import CODES, ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "End a sale: every request from now on is answered OVER, even if units are left. reopen or "
        f"set_stock opens it again. {CODES}"
    )

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Finish it."""
        return control.finish(options["activity_id"], expected_version=options["expected_version"])
