"""`manage.py reopen`: take back the end of a sale."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import CODES, ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "Take back that a sale was finished: it goes on with what is left; where nothing is, it is "
        f"sold out. The statistics go on. Safe to repeat. {CODES}"
    )

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Open it again."""
        return control.reopen(options["activity_id"], expected_version=options["expected_version"])
