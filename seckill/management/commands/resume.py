"""`manage.py resume`: let a held sale go on."""

from typing import Any

from seckill.control.control import Act, Control
from seckill.management.acts import CODES, ActCommand


class Command(ActCommand):
    """Act, print."""

    help = (
        "Let a held sale go on, with what is left. Requests that were answered NOT_OPEN meanwhile "
        f"stay so. Safe to repeat. {CODES}"
    )

    def act(self, control: Control, options: dict[str, Any]) -> Act:
        """Let it go on."""
        return control.resume(options["activity_id"], expected_version=options["expected_version"])
