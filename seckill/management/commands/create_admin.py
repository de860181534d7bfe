"""`manage.py create_admin`: create a login for the admin, or give it a new password."""

import os
from typing import Any

from django.core.management.base import CommandError, CommandParser

from seckill.config.secret_files import secret
from seckill.config.sections import ENV_PREFIX
from seckill.management import base
from seckill.management.acts import addresses
from seckill.management.arguments import add_connection_flags
from seckill.process import exit_codes
from seckill.web.shared.accounts import Unusable, make_admin

PASSWORD_VARIABLE = ENV_PREFIX + "ADMIN_PASSWORD"


class Command(base.Command):
    """Parse, create, print."""

    help = (
        "Create a superuser for the admin, or give an existing one a new password: the one in "
        f"{PASSWORD_VARIABLE}, or a generated one, which is printed."
    )
    examples = (
        "",
        "--username lin",
    )
    codes = {**base.AWAY, exit_codes.FAILED: "the name or the password is not allowed"}

    def add_arguments(self, parser: CommandParser) -> None:
        """The name."""
        parser.add_argument(
            "--username", default="admin", help="name of the login (default: %(default)s)"
        )
        add_connection_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Create it, print it."""
        given = secret("ADMIN_PASSWORD", os.environ) or None
        addresses(options)
        try:
            password = make_admin(options["username"], given)
        except Unusable as wrong:
            raise CommandError(str(wrong), returncode=exit_codes.FAILED) from None
        shown = f"the one in {PASSWORD_VARIABLE}" if given else password
        self.stdout.write(f"login: {options['username']}  password: {shown}")
