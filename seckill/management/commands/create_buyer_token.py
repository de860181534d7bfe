"""`manage.py create_buyer_token USERS`: tokens of buyers, one a line, for tests and load tools."""

import argparse
import re
import time
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from seckill.config.layers import load
from seckill.config.sections import Door
from seckill.formats.outcomes import MAX_ID
from seckill.management import base
from seckill.management.arguments import positive
from seckill.process import exit_codes
from seckill.web.door.token_maker import TokenMaker


class Command(base.Command):
    """Parse, sign, print."""

    help = (
        "Print tokens with which buyers call the door, one a line, for tests and load tools. They "
        "are signed with the first "
        "HS256 key of section door (SECKILL_BUYER_KEYS=KID:SECRET), or with an Ed25519 key in a "
        "file. A shop signs its own. Asks no service. Whoever has a token buys as its user."
    )
    examples = ("1001-2000 --ttl 3600 > tokens.txt",)
    codes = {exit_codes.OK: "printed", exit_codes.USAGE: "wrong command line or configuration"}

    def add_arguments(self, parser: CommandParser) -> None:
        """Users, lifetime, key."""
        parser.add_argument(
            "users", nargs="+", type=_users, metavar="USERS", help="1001, or 1001-2000; several"
        )
        parser.add_argument(
            "--ttl", type=positive, default=3600, help="seconds until they end (default: 3600)"
        )
        parser.add_argument("--kid", help="the key to sign with (default: the first one)")
        parser.add_argument("--audience", help="their aud (default: buyer_audience)")
        parser.add_argument(
            "--private-key",
            type=Path,
            metavar="FILE",
            help="PEM file of an Ed25519 private key; --kid names its public key in the JWKS file",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print them."""
        maker = TokenMaker.of(
            load(Door), options["kid"], options["audience"], options["private_key"]
        )
        ends_at = int(time.time()) + options["ttl"]
        for users in options["users"]:
            for user_id in users:
                self.stdout.write(maker.make(user_id, ends_at))


def _users(text: str) -> range:
    """`1001` or `1001-2000`, the last one included."""
    found = re.fullmatch(r"(\d{1,19})(?:-(\d{1,19}))?", text, re.ASCII)
    first = int(found[1]) if found else 0
    last = int(found[2]) if found and found[2] else first
    if not 1 <= first <= last <= MAX_ID:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a user or a range of users from 1 to {MAX_ID}; write 1001-2000"
        )
    return range(first, last + 1)
