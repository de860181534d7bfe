"""Tickets: a request's place in the log, signed. Whoever holds one may read its answer.

A ticket is the acknowledgement of Kafka (source, partition, offset), with the activity, the user
and the click that the answer needs. Nothing is stored for it, so any door with the secret can
answer.
"""

import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import blake2b

import msgspec

VERSION = 1
# version, kid, source, partition, offset, activity, user, click
_FIELDS = struct.Struct(">BB4siQQQ12s")
MAC_BYTES = 16
# Characters of a ticket.
LENGTH = -(-(_FIELDS.size + MAC_BYTES) * 4 // 3)
CLICK_BYTES = 12


class Forged(Exception):
    """Not a ticket of this shop. The message is for its holder."""


class Ticket(msgspec.Struct, frozen=True):
    """`source` is the first four bytes of the topic's id; `click` the request id in Kafka."""

    source: bytes
    partition: int
    offset: int
    activity_id: int
    user_id: int
    click: str


def click_of(user_id: int, key: str) -> str:
    """The request id of a click: 16 characters from the user and the Idempotency-Key."""
    digest = blake2b(key.encode(), key=user_id.to_bytes(8), digest_size=CLICK_BYTES).digest()
    return urlsafe_b64encode(digest).decode()


def short_source(source: str) -> bytes:
    """A topic's id as tickets have it."""
    return blake2b(source.encode(), digest_size=4).digest()


class Tickets:
    """Signs tickets with the first secret, and reads those of every secret."""

    def __init__(self, secrets: Mapping[int, bytes]) -> None:
        """`secrets` by kid, 0 to 255, the one that signs first."""
        # Keys of blake2b, which has at most 64 bytes for one.
        self._secrets = {kid: blake2b(secret).digest() for kid, secret in secrets.items()}
        self._kid = next(iter(secrets))

    def sign(self, ticket: Ticket) -> str:
        """The ticket as text."""
        body = _FIELDS.pack(
            VERSION,
            self._kid,
            ticket.source,
            ticket.partition,
            ticket.offset,
            ticket.activity_id,
            ticket.user_id,
            urlsafe_b64decode(ticket.click),
        )
        signed = body + _mac(self._secrets[self._kid], body)
        return urlsafe_b64encode(signed).rstrip(b"=").decode()

    def read(self, text: str) -> Ticket:
        """The ticket in a text. Raises Forged."""
        if len(text) != LENGTH or not text.isascii():
            raise Forged("not a ticket")
        try:
            signed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raise Forged("not a ticket") from None
        if len(signed) != _FIELDS.size + MAC_BYTES:
            raise Forged("not a ticket")
        body, mac = signed[: _FIELDS.size], signed[_FIELDS.size :]
        version, kid, source, partition, offset, activity, user, click = _FIELDS.unpack(body)
        secret = self._secrets.get(kid)
        if version != VERSION or secret is None or not hmac.compare_digest(mac, _mac(secret, body)):
            raise Forged("this ticket was not made by this shop")
        return Ticket(source, partition, offset, activity, user, urlsafe_b64encode(click).decode())


def _mac(key: bytes, body: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=MAC_BYTES).digest()
