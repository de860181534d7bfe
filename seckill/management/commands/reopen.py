"""`manage.py reopen`: reopen a finished sale."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "Reopen a finished sale: it continues with the units left; if none are left, it is sold "
        "out. The statistics continue. Safe to repeat."
    )
    examples = ("",)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Reopen it."""
        return control.reopen(options["activity_id"], expected_version=options["expected_version"])
