"""`manage.py config_reference`: the page of all parameters."""

from typing import Any

from django.core.management.base import BaseCommand

from seckill.config.reference import reference


class Command(BaseCommand):
    """Print."""

    help = (
        "Print docs/configuration.md: every parameter with its default, what it may be and what it "
        "means. Asks no service. Exit code 0."
    )
    # It asks nothing of Django.
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the page."""
        self.stdout.write(reference(), ending="")
