"""`manage.py create_api_key NAME`: a credential for programs, printed once."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from seckill.management import base
from seckill.management.acts import addresses, database_errors
from seckill.management.arguments import add_connection_flags
from seckill.process import exit_codes
from seckill.web.shared.accounts import Unusable, make_api_key


class Command(base.Command):
    """Parse, create, print."""

    help = (
        "Create an API key for the control API. Only the key is printed on standard output. It is "
        "shown only once, and only its hash is kept. Keys are revoked in the admin."
    )
    examples = (
        "shop > shop.key",
        "dashboard --look-only",
    )
    codes = {**base.AWAY, exit_codes.FAILED: "the name is not allowed"}

    def add_arguments(self, parser: CommandParser) -> None:
        """Name and right."""
        parser.add_argument("name", help="name of the key, shown in the journal")
        parser.add_argument(
            "--look-only", action="store_true", help="the key may look, but not steer"
        )
        add_connection_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Create it, print it."""
        addresses(options)
        try:
            with database_errors():
                key = make_api_key(options["name"], can_steer=not options["look_only"])
        except Unusable as wrong:
            raise CommandError(str(wrong), returncode=exit_codes.FAILED) from None
        right = "look" if options["look_only"] else "look and steer"
        self.stderr.write(f"API key {options['name']!r} may {right}. Copy it now:")
        self.stdout.write(key)
