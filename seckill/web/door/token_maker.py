"""Makes buyer tokens for tests and load tools. A shop makes its own, with any library for JWTs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from seckill.config.layers import ConfigError
from seckill.config.sections import Door
from seckill.web.door.buyer_keys import EDDSA, HS256, read_keys


@dataclass(frozen=True)
class TokenMaker:
    """Signs with one key. `audience` and `issuer` are left out where they are None."""

    kid: str
    algorithm: str
    key: Any = field(repr=False)
    audience: str | None = None
    issuer: str | None = None

    @classmethod
    def of(
        cls,
        section: Door,
        kid: str | None = None,
        audience: str | None = None,
        private_key: Path | None = None,
    ) -> "TokenMaker":
        """With the first HS256 key of the section, the one of `kid`, or an Ed25519 key in a file.

        The audience is the section's if none is named. Raises ConfigError.
        """
        claims = (audience or section.buyer_audience, section.buyer_issuer)
        if private_key is not None:
            if not kid:
                raise ConfigError("--kid: needed with --private-key: the name of its public key")
            return cls(kid, EDDSA, _read_private(private_key), *claims)
        keys = read_keys(section)
        named = kid or next((k for k, key in keys.items() if key.algorithm == HS256), None)
        if named is None:
            raise ConfigError(
                "door: no key here can sign, they are public ones; set buyer_keys, or name the "
                "shop's key: --private-key FILE --kid KID"
            )
        if named not in keys:
            raise ConfigError(f"--kid: there is no key {named!r}; known: {', '.join(keys)}")
        if keys[named].algorithm != HS256:
            raise ConfigError(
                f"--kid: of {named!r} the door has the public key only; name the shop's: "
                "--private-key FILE"
            )
        return cls(named, HS256, keys[named].key, *claims)

    def make(self, user_id: int, ends_at: int) -> str:
        """A token of this user that ends at this second of Unix time."""
        claims = {"sub": str(user_id), "exp": ends_at, "aud": self.audience, "iss": self.issuer}
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            self.key,
            self.algorithm,
            headers={"kid": self.kid},
        )


def _read_private(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as wrong:
        reason = wrong.strerror or "cannot be read"
        raise ConfigError(f"--private-key: {path}: {reason}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            f"--private-key: {path}: is not an Ed25519 private key in PEM without a password; "
            "openssl genpkey -algorithm ed25519 makes one"
        )
    return key
