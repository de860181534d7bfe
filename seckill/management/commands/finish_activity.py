"""`manage.py finish_activity`: end a sale, whatever is left."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import CODES, ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "End a sale: every request from now on is answered OVER, whatever is left. reopen or "
        f"set_stock opens it again. {CODES}"
    )

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Finish it."""
        return control.finish(options["activity_id"], expected_version=options["expected_version"])
