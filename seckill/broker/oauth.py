"""Tokens for OAUTHBEARER: from an OIDC issuer by client credentials, or from a file.

Both libraries call it for each connection, or shortly before a token ends. A token is kept until
most of its life is over; one from a file is read anew, because somebody renews it there.
"""

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode, urlsafe_b64decode
from pathlib import Path
from typing import Any

from kafka.errors import KafkaConnectionError, SaslAuthenticationFailedError
from kafka.net.sasl.oauth import AbstractTokenProvider

from seckill.config.sections import KafkaSection

# Seconds for the issuer's answer; seconds that a token without an end is taken to last.
ASK_S, UNKNOWN_S = 10.0, 60.0
# The part of a token's life after which a new one is asked for.
RENEW_AT = 0.8


class Provider(AbstractTokenProvider):
    """Tokens for kafka-python. Used by any thread of a client."""

    def __init__(self, section: KafkaSection) -> None:
        self._section = section
        self._guard = threading.Lock()
        self._token, self._until = "", 0.0

    def token(self) -> str:
        """A token that is good for a while. Raises KafkaError."""
        with self._guard:
            now = time.time()
            if now >= self._until:
                try:
                    self._token, end = token_and_end(self._section)
                except NoToken as none:
                    kind = SaslAuthenticationFailedError if none.refused else KafkaConnectionError
                    raise kind(str(none)) from None
                self._until = now + (end - now) * RENEW_AT if self._section.oauth_token_url else now
            return self._token


class NoToken(Exception):
    """There is no token. `refused`: a person must mend that. The message says why, in one line."""

    def __init__(self, why: str, *, refused: bool) -> None:
        super().__init__(why)
        self.refused = refused


def token_and_end(section: KafkaSection, _config: str = "") -> tuple[str, float]:
    """A token, and the second of the clock at which it ends. Raises NoToken."""
    if section.oauth_token_file is not None:
        try:
            token = Path(section.oauth_token_file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as wrong:
            why = f"oauth_token_file: {section.oauth_token_file} cannot be read: {wrong}"
            raise NoToken(why, refused=True) from None
        return token, _end_of(token)
    answer = _asked(section)
    token = str(answer["access_token"])
    lasts = answer.get("expires_in")
    return token, time.time() + float(lasts) if lasts else _end_of(token)


def _asked(section: KafkaSection) -> dict[str, Any]:
    """The issuer's answer, RFC 6749 4.4. Raises NoToken."""
    form = {"grant_type": "client_credentials"}
    if section.oauth_scope:
        form["scope"] = section.oauth_scope
    pair = f"{section.oauth_client_id}:{section.oauth_client_secret}"
    request = urllib.request.Request(
        str(section.oauth_token_url),
        urllib.parse.urlencode(form).encode(),
        {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"},
    )
    place = f"oauth_token_url: {section.oauth_token_url}"
    try:
        with urllib.request.urlopen(request, timeout=ASK_S) as answer:
            document = json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            why = f"{place} answers {refused.code} {refused.reason}"
            raise NoToken(why, refused=refused.code < 500) from None
    except (OSError, ValueError) as away:
        raise NoToken(f"{place}: {away}", refused=False) from None
    if not isinstance(document, dict) or "access_token" not in document:
        raise NoToken(f"{place} answers without an access_token", refused=True)
    return document


def _end_of(token: str) -> float:
    """When a JWT says that it ends. Kafka checks it: nobody else has to trust it here."""
    try:
        content = token.split(".")[1]
        claims = json.loads(urlsafe_b64decode(content + "=" * (-len(content) % 4)))
        return float(claims["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return time.time() + UNKNOWN_S
