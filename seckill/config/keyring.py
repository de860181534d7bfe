"""Secrets with names, as one parameter holds them: `KID:SECRET,KID:SECRET`.

Several stand beside each other while one replaces another: the first signs, all are accepted. No
message repeats any part of the text: it tells a secret by its number.
"""

import re
from base64 import b64decode

# Characters of a secret that signs tickets, at least; bytes of one for HS256, as RFC 7518 asks.
LEAST_TICKET_SECRET = 16
LEAST_HS256_BYTES = 32
# The kid of a ticket secret that stands alone.
ONLY_KID = 0
LAST_KID = 255
# What a webhook may be called: it is part of a consumer group's name.
WEBHOOK_NAME = r"[a-z0-9-]{1,32}"


def ticket_secrets(text: str) -> dict[int, bytes]:
    """{kid: secret}, the one that signs first: `KID:SECRET,...`, or one secret alone.

    Raises ValueError.
    """
    pairs = _pairs(text) if ":" in text or "," in text else [(str(ONLY_KID), text.strip())]
    secrets: dict[int, bytes] = {}
    for n, (kid, secret) in enumerate(pairs, 1):
        if not re.fullmatch(r"\d{1,3}", kid, re.ASCII) or int(kid) > LAST_KID:
            raise ValueError(f"the kid of secret {n} is not a number from 0 to {LAST_KID}")
        if int(kid) in secrets:
            raise ValueError(f"the kid of secret {n} stands before another one too")
        if len(secret) < LEAST_TICKET_SECRET:
            raise ValueError(f"secret {n} has less than {LEAST_TICKET_SECRET} characters")
        secrets[int(kid)] = secret.encode()
    return secrets


def buyer_secrets(text: str) -> dict[str, bytes]:
    """{kid: secret for HS256}, the one that signs first: `KID:SECRET,...`. Raises ValueError."""
    secrets: dict[str, bytes] = {}
    for n, (kid, secret) in enumerate(_pairs(text), 1):
        if not re.fullmatch(r"[\w.-]{1,64}", kid, re.ASCII):
            raise ValueError(f"the kid of secret {n} is not 1 to 64 of A-Z a-z 0-9 _ . -")
        if kid in secrets:
            raise ValueError(f"the kid of secret {n} stands before another one too")
        if len(secret.encode()) < LEAST_HS256_BYTES:
            raise ValueError(f"secret {n} has less than {LEAST_HS256_BYTES} bytes, as HS256 needs")
        secrets[kid] = secret.encode()
    return secrets


def payment_digests(text: str) -> dict[str, bytes]:
    """{name: SHA-256 of a payment key}: `NAME:HEX,...`. Raises ValueError."""
    digests: dict[str, bytes] = {}
    for n, (name, digest) in enumerate(_pairs(text), 1):
        if not re.fullmatch(r"[\w.-]{1,64}", name, re.ASCII):
            raise ValueError(f"the name of key {n} is not 1 to 64 of A-Z a-z 0-9 _ . -")
        if name in digests:
            raise ValueError(f"the name of key {n} stands before another one too")
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digest, re.ASCII):
            raise ValueError(
                f"key {n} is not the SHA-256 of a key, 64 hexadecimal digits: "
                "printf %s KEY | sha256sum"
            )
        digests[name] = bytes.fromhex(digest)
    return digests


def webhook_secrets(text: str) -> dict[str, list[str]]:
    """{webhook: its secrets}: `NAME:whsec_BASE64,...`, a name may come again. Raises ValueError."""
    secrets: dict[str, list[str]] = {}
    for n, (name, secret) in enumerate(_pairs(text), 1):
        if not re.fullmatch(WEBHOOK_NAME, name, re.ASCII):
            raise ValueError(f"the name of secret {n} is not 1 to 32 of a-z 0-9 -")
        try:
            size = len(b64decode(secret.removeprefix("whsec_"), validate=True))
        except ValueError:
            size = 0
        if not secret.startswith("whsec_") or not 24 <= size <= 64:
            raise ValueError(f"secret {n} is not whsec_ and the base64 of 24 to 64 bytes")
        secrets.setdefault(name, []).append(secret)
    return secrets


def check_webhook_secrets(text: str) -> str:
    """The text unchanged, or ValueError."""
    webhook_secrets(text)
    return text


def check_payment_digests(text: str) -> str:
    """The text unchanged, or ValueError."""
    payment_digests(text)
    return text


def check_ticket_secrets(text: str) -> str:
    """The text unchanged, or ValueError."""
    ticket_secrets(text)
    return text


def check_buyer_secrets(text: str) -> str:
    """The text unchanged, or ValueError."""
    buyer_secrets(text)
    return text


def _pairs(text: str) -> list[tuple[str, str]]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words or not all(":" in word for word in words):
        raise ValueError("must be KID:SECRET, several with commas; a secret contains no comma")
    return [(kid.strip(), secret.strip()) for kid, _, secret in (w.partition(":") for w in words)]
