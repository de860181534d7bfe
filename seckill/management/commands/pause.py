"""`manage.py pause`: pause a sale."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "Pause a sale: every request from the next batch on is answered NOT_OPEN, until resume. "
        "Nothing else changes. Safe to repeat."
    )
    examples = ('--note "the till is down"',)

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Pause it."""
        return control.pause(options["activity_id"], expected_version=options["expected_version"])
