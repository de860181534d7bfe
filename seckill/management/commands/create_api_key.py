"""`manage.py create_api_key NAME`: a credential for programs, printed once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from seckill.management.acts import addresses, database_errors
from seckill.management.arguments import add_connection_flags, readable_errors
from seckill.process import exit_codes
from seckill.web.shared.accounts import Unusable, make_api_key


class Command(BaseCommand):
    """Parse, make, print."""

    help = (
        "Make an API key for the control API and print it, alone on standard output: it is shown "
        "this once, and only a hash of it is kept. Keys are revoked in the admin. Exit codes: 0 "
        "made, 1 the name cannot be taken, 2 wrong command line or configuration, 3 PostgreSQL "
        "could not be reached."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Name and right."""
        parser.add_argument("name", help="whose key it is; the journal will show it")
        parser.add_argument(
            "--look-only", action="store_true", help="the key may read /status, and not steer"
        )
        add_connection_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it, print it."""
        with readable_errors():
            addresses(options)
            try:
                with database_errors():
                    key = make_api_key(options["name"], can_steer=not options["look_only"])
            except Unusable as wrong:
                raise CommandError(str(wrong), returncode=exit_codes.FAILED) from None
        right = "look" if options["look_only"] else "look and steer"
        self.stderr.write(f"API key {options['name']!r} may {right}. Copy it now:")
        self.stdout.write(key)
