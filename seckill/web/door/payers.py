"""Who may say what became of a payment: the shop's servers, by a key or by a signature.

A key comes as a bearer token and is known here by its SHA-256 alone. A signature is Stripe's
scheme: `Payment-Signature: t=<seconds>,v1=<hex of HMAC-SHA256(secret, "<t>.<raw body>")>`. Several
keys and secrets stand beside each other while one replaces another.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256

from seckill.config.keyring import buyer_secrets, payment_digests
from seckill.config.sections import Door as Section

SIGNATURE = b"payment-signature"
# Seconds that a signature's time may differ from the door's clock.
TOLERANCE_S = 300


class NotAPayer(Exception):
    """The message is one sentence for the caller, and repeats nothing of a key."""


class Payers:
    """Checks callers. `digests` of keys and `secrets` of signatures by name."""

    def __init__(self, digests: Mapping[str, bytes], secrets: Mapping[str, bytes]) -> None:
        self._digests = tuple(digests.values())
        self._secrets = tuple(secrets.values())

    @classmethod
    def of(cls, section: Section) -> "Payers":
        """As the section says."""
        return cls(
            payment_digests(section.payment_keys) if section.payment_keys else {},
            buyer_secrets(section.payment_secrets) if section.payment_secrets else {},
        )

    def check_key(self, authorization: bytes) -> None:
        """Raises NotAPayer unless the header holds a key of the shop."""
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            raise NotAPayer(
                "send the shop's payment key (Authorization: Bearer <key>) or Payment-Signature"
            )
        digest = sha256(key.strip()).digest()
        if not any(hmac.compare_digest(digest, known) for known in self._digests):
            raise NotAPayer("this is no payment key of this shop")

    def check_signature(self, header: bytes, body: bytes, now_s: float) -> None:
        """Raises NotAPayer unless the body was signed by a secret of the shop a moment ago."""
        times: list[bytes] = []
        given: list[bytes] = []
        for word in header.split(b","):
            name, _, value = word.strip().partition(b"=")
            if name in (b"t", b"v1"):
                (times if name == b"t" else given).append(value)
        if len(times) != 1 or not times[0].isdigit() or len(times[0]) > 12 or not given:
            raise NotAPayer("Payment-Signature must be t=<seconds>,v1=<hex>")
        text = times[0] + b"." + body
        made = [hmac.digest(secret, text, "sha256").hex().encode() for secret in self._secrets]
        if not any(hmac.compare_digest(a, b) for a in made for b in given):
            raise NotAPayer("the signature is wrong")
        if abs(now_s - int(times[0])) > TOLERANCE_S:
            raise NotAPayer(f"the signature is more than {TOLERANCE_S} s old, or a clock is wrong")
