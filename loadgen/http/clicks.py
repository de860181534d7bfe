"""The clicks of a load: the same buyers as for Kafka, each with a key of its own.

Owns what a buyer sends to a door. A repeat has the key of the first click: it is the same click.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from loadgen.buyers import Buyers
from loadgen.plan import Load
from loadgen.profile import Stale
from seckill.formats.outcomes import DEFAULT_ACTIVITY
from seckill.web.door.tickets import click_of


@dataclass(frozen=True, slots=True)
class Click:
    """`body` as it is sent. `proper`: whether it is an order; all others must be refused."""

    user: int
    key: str
    body: bytes
    proper: bool = True

    @property
    def request_id(self) -> str:
        """As Kafka and the rows have it."""
        return click_of(self.user, self.key)


class _Order(msgspec.Struct):
    user_id: int
    items: dict[str, int]
    request_id: str
    activity_id: int = DEFAULT_ACTIVITY


_read = msgspec.json.Decoder(_Order).decode


class Clicks:
    """An endless series of clicks, determined by the load."""

    def __init__(self, load: Load) -> None:
        # Every click needs a key. A stale one is as any other: the door reads its own clock.
        profile = load.profile.model_copy(update={"request_ids": True, "stale": Stale()})
        self.buyers = Buyers(profile, load.users, load.seed, load.part, load.parts, load.ids)
        self._first_user, self._users = profile.first_user, load.users
        self._prefix = f"{load.ids or format(load.seed, 'x')}-"
        self._malformed = 0

    def draw(self, count: int) -> list[Click]:
        """The next clicks."""
        return [self._click(body or b"") for body in self.buyers.draw([0] * count)]

    def _click(self, body: bytes) -> Click:
        try:
            order = _read(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._bad(body)
        if not order.request_id.startswith(self._prefix):
            return self._bad(body)
        sent = {"activity_id": order.activity_id, "items": order.items}
        return Click(order.user_id, f"load-{order.request_id}", json.dumps(sent).encode())

    def _bad(self, body: bytes) -> Click:
        number = self._malformed
        self._malformed += 1
        user = self._first_user + number % self._users
        return Click(user, f"load-{self._prefix}malformed-{number}", body, proper=False)


def shown(clicks: Sequence[Click]) -> list[str]:
    """What --dry-run prints of each."""
    return [
        f"user {click.user}, key {click.key}: {click.body.decode(errors='backslashreplace')}"
        for click in clicks
    ]
