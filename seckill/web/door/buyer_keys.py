"""The keys of buyer tokens: secrets of the configuration, and a JWKS file (RFC 7517). Read once.

A key decides its algorithm; a token's header never does.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jwt import PyJWK
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError, PyJWTError

from seckill.config.keyring import LEAST_HS256_BYTES, buyer_secrets
from seckill.config.layers import ConfigError
from seckill.config.sections import Door

HS256, EDDSA = "HS256", "EdDSA"


@dataclass(frozen=True, slots=True)
class BuyerKey:
    """`key` as PyJWT takes it: the secret's bytes, or an Ed25519 public key."""

    algorithm: str
    key: Any = field(repr=False)


def read_keys(section: Door) -> dict[str, BuyerKey]:
    """{kid: key}, those of `buyer_keys` first, never empty. Raises ConfigError."""
    keys: dict[str, BuyerKey] = {}
    secrets = buyer_secrets(section.buyer_keys) if section.buyer_keys else {}
    for n, (kid, secret) in enumerate(secrets.items(), 1):
        try:
            keys[kid] = BuyerKey(HS256, _for_hs256(secret))
        except ValueError as wrong:
            raise ConfigError(f"door.buyer_keys: secret {n} {wrong}") from None
    if section.buyer_jwks_file is not None:
        path = Path(section.buyer_jwks_file)
        for n, jwk in enumerate(_read_jwks(path), 1):
            try:
                kid, key = _key_of(jwk)
                if kid in keys:
                    raise ValueError("its kid has been given to another key")
            except ValueError as wrong:
                raise ConfigError(f"door.buyer_jwks_file: {path}: key {n}: {wrong}") from None
            keys[kid] = key
    if not keys:
        raise ConfigError(
            "door: there is no key of buyer tokens, so no buyer could be known; set buyer_keys "
            "(SECKILL_BUYER_KEYS=KID:SECRET) or buyer_jwks_file"
        )
    return keys


def _read_jwks(path: Path) -> list[Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as wrong:
        reason = wrong.strerror or "cannot be read"
        raise ConfigError(f"door.buyer_jwks_file: {path}: {reason}") from None
    except (ValueError, RecursionError):
        # Without the parser's words: the file may hold secrets.
        raise ConfigError(f"door.buyer_jwks_file: {path}: is not JSON") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ConfigError(f'door.buyer_jwks_file: {path}: must be {{"keys": [...]}} with a key')
    return keys


def _key_of(jwk: Any) -> tuple[str, BuyerKey]:
    """The kid and the key. ValueError says what is wrong, and repeats nothing of the key."""
    if not isinstance(jwk, dict):
        raise ValueError("must be an object")
    kid = jwk.get("kid")
    if not isinstance(kid, str) or not kid:
        raise ValueError("has no kid, by which tokens name it")
    if jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519":
        algorithm = EDDSA
    elif jwk.get("kty") == "oct":
        algorithm = HS256
    else:
        raise ValueError("is of another kind than OKP with Ed25519, or oct")
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        raise ValueError(f"is for another use than {algorithm} signatures")
    if algorithm == EDDSA and "d" in jwk:
        raise ValueError("is a private key; the door needs only the public one, without `d`")
    try:
        key = PyJWK.from_dict(jwk, algorithm).key
    except (PyJWTError, KeyError, TypeError, ValueError):
        raise ValueError(f"cannot be read as a key for {algorithm}") from None
    return kid, BuyerKey(algorithm, _for_hs256(key) if algorithm == HS256 else key)


def _for_hs256(secret: bytes) -> bytes:
    """The secret. ValueError if it is short, or is what PyJWT takes for a public key."""
    if len(secret) < LEAST_HS256_BYTES:
        raise ValueError(f"has less than {LEAST_HS256_BYTES} bytes, as HS256 needs")
    try:
        return HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except InvalidKeyError:
        raise ValueError("is a public key or a JWK, and no secret") from None
