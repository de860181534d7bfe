"""Buyer tokens: JWTs of the shop, which say who a buyer is. Verified by PyJWT, then remembered.

`sub` is the user id in canonical decimal text and `exp` is required; `kid` names the key.
"""

import re
from collections import OrderedDict
from functools import lru_cache
from hashlib import blake2b

import jwt
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidSubjectError
from jwt.utils import force_bytes

from seckill.config.sections import Door
from seckill.formats.outcomes import MAX_ID
from seckill.web.door.buyer_keys import HS256, BuyerKey, read_keys

# Characters of a token, at most.
MAX_LENGTH = 4096
# Seconds that the shop's clock may differ from ours.
LEEWAY_S = 2
# Verified tokens that are remembered, about 200 bytes each.
REMEMBERED = 100_000
# Headers whose kid is remembered: a shop's tokens of one key share one.
HEADERS = 256
NOT_JWT = "not a JWT: three parts of base64url with dots between them"

_is_token = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII).fullmatch
_is_user = re.compile(r"[1-9]\d{0,18}", re.ASCII).fullmatch


class BadToken(Exception):
    """Not a token of a buyer. The message is one sentence for the caller, without the token."""


class _CheckedOnce(HMACAlgorithm):
    """HS256 with secrets that `read_keys` has checked: PyJWT looks at the secret for each token,
    whether it is a public key or a JWK, and that is half of a token's cost.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        """See PyJWT."""
        return force_bytes(key)


class BuyerTokens:
    """Verifies tokens. `keys` by kid."""

    def __init__(
        self,
        keys: dict[str, BuyerKey],
        audience: str | None = None,
        issuer: str | None = None,
        remembered: int = REMEMBERED,
    ) -> None:
        self._keys = dict(keys)
        self._audience, self._issuer, self._remembered = audience, issuer, remembered
        # {digest of a token: (user id, the second at which it ends)}, the longest unused first.
        # A digest, since tokens may be long.
        self._known: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self._jwt = jwt.PyJWT()
        self._jwt._jws.unregister_algorithm(HS256)
        self._jwt._jws.register_algorithm(HS256, _CheckedOnce(_CheckedOnce.SHA256))
        self._kid_of = lru_cache(HEADERS)(_kid_of)

    @classmethod
    def of(cls, section: Door) -> "BuyerTokens":
        """As the section says. Raises ConfigError."""
        return cls(read_keys(section), section.buyer_audience, section.buyer_issuer)

    def verify(self, token: str, now: float) -> int:
        """The user id. `now` is the wall clock, s. Raises BadToken."""
        if len(token) > MAX_LENGTH:
            raise BadToken(f"the token is longer than {MAX_LENGTH:,} characters")
        if not token.isascii():
            raise BadToken(NOT_JWT)
        digest = blake2b(token.encode(), digest_size=16).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._known[digest] = self._read(token)
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(digest)
        user_id, ends_at = known
        if now >= ends_at:
            del self._known[digest]
            raise BadToken("the token has expired")
        return user_id

    def _read(self, token: str) -> tuple[int, float]:
        """The user id, and the second at which the token ends."""
        if not _is_token(token):
            raise BadToken(NOT_JWT)
        try:
            key = self._keys.get(self._kid_of(token.partition(".")[0]))
            if key is None:
                raise BadToken("no key here has the token's kid")
            claims = self._jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "sub"]},
            )
        except jwt.InvalidTokenError as wrong:
            raise BadToken(_reason(wrong)) from None
        subject = claims["sub"]
        if not _is_user(subject) or int(subject) > MAX_ID:
            raise BadToken("the token's sub is not a user id from 1 to 2^63-1 in decimal text")
        return int(subject), int(claims["exp"]) + LEEWAY_S


def _kid_of(header: str) -> str:
    """The kid in the first part of a token. Raises jwt.InvalidTokenError, BadToken."""
    # PyJWT reads the header of a whole token only: the other two parts are empty objects.
    kid = jwt.get_unverified_header(f"{header}.e30.e30").get("kid")
    if not isinstance(kid, str):
        raise BadToken("the token's header names no kid")
    return kid


def _reason(wrong: jwt.InvalidTokenError) -> str:
    """Our own words: the library's may repeat what the token holds."""
    match wrong:
        case jwt.ExpiredSignatureError():
            return "the token has expired"
        case jwt.ImmatureSignatureError():
            return "the token is not valid yet"
        case jwt.MissingRequiredClaimError():
            return f"the token has no {wrong.claim}"
        case jwt.InvalidAudienceError():
            return "the token is for another audience (aud)"
        case jwt.InvalidIssuerError():
            return "the token is of another issuer (iss)"
        case InvalidSubjectError():
            return "the token's sub is not text"
        case jwt.InvalidAlgorithmError():
            return "the token's algorithm is not that of its key"
        case jwt.InvalidSignatureError():
            return "the token's signature is wrong"
    return "the token cannot be read"
