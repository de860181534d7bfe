"""`manage.py config_reference`: the page of all parameters."""

from typing import Any

from seckill.config.reference import reference
from seckill.management import base


class Command(base.Command):
    """Print."""

    help = (
        "Print docs/configuration.md: every parameter with its default, what it may be and what it "
        "means. Asks no service."
    )
    examples = ("> docs/configuration.md",)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the page."""
        self.stdout.write(reference(), ending="")
