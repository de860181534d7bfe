"""`manage.py resume`: resume a paused sale."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "Resume a paused sale with the units left. Requests that were answered NOT_OPEN during the "
        "pause stay refused. Safe to repeat."
    )
    examples = ("",)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Resume it."""
        return control.resume(options["activity_id"], expected_version=options["expected_version"])
