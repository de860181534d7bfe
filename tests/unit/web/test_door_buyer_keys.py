"""The keys of buyer tokens: which ones a door takes, and what it says of the others."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from seckill.config.layers import ConfigError
from seckill.config.sections import Door
from seckill.web.door.buyer_keys import EDDSA, HS256, read_keys
from seckill.web.door.tokens import BuyerTokens

SECRET = "s" * 32
PRIVATE = Ed25519PrivateKey.generate()
ED: dict[str, Any] = {**OKPAlgorithm.to_jwk(PRIVATE.public_key(), as_dict=True), "kid": "ed"}
OCT = {
    "kty": "oct",
    "kid": "oct",
    "k": base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode(),
}


def read(folder: Path, document: Any, buyer_keys: str | None = None) -> dict[str, Any]:
    """The keys of a JWKS file with this content."""
    file = folder / "jwks.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_keys(Door(buyer_jwks_file=str(file), buyer_keys=buyer_keys))


def test_keys_of_the_configuration_and_of_a_file(tmp_path: Path) -> None:
    ours = {**OCT, "use": "sig", "alg": HS256}
    keys = read(tmp_path, {"keys": [ED, ours]}, f"b:{SECRET},a:{SECRET}")
    assert {kid: key.algorithm for kid, key in keys.items()} == {
        "b": HS256,
        "a": HS256,
        "ed": EDDSA,
        "oct": HS256,
    }
    assert next(iter(keys)) == "b", "the first one signs"
    assert keys["oct"].key == keys["a"].key == SECRET.encode()
    assert SECRET not in repr(keys)
    assert BuyerTokens.of(Door(buyer_keys=f"k:{SECRET}"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kid": None}, "has no kid"),
        ({"kid": 7}, "has no kid"),
        ({"kid": "taken"}, "its kid has been given to another key"),
        ({"kty": "RSA"}, "is of another kind than OKP with Ed25519, or oct"),
        ({"kty": ["OKP"]}, "is of another kind"),
        ({"crv": "Ed448"}, "is of another kind"),
        ({"crv": None}, "is of another kind"),
        ({"crv": ["Ed25519"]}, "is of another kind"),
        ({"use": "enc"}, "is for another use than EdDSA signatures"),
        ({"alg": "HS256"}, "is for another use than EdDSA signatures"),
        ({"d": ED["x"]}, "is a private key; the door needs only the public one"),
        ({"x": None}, "cannot be read as a key for EdDSA"),
        ({"x": "AAAA"}, "cannot be read as a key for EdDSA"),
        ({"x": 5}, "cannot be read as a key for EdDSA"),
        ({**OCT, "k": OCT["k"][:-4]}, "has less than 32 bytes, as HS256 needs"),
        ({**OCT, "k": ""}, "cannot be read as a key for HS256"),
        ({**OCT, "k": None}, "cannot be read as a key for HS256"),
        ({**OCT, "alg": "HS512"}, "is for another use than HS256 signatures"),
    ],
)
def test_a_key_that_is_not_taken(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    merged = {**ED, **change}
    key = {name: value for name, value in merged.items() if value is not None}
    with pytest.raises(ConfigError) as wrong:
        read(tmp_path, {"keys": [OCT | {"kid": "first"}, key]}, f"taken:{SECRET}")
    text = str(wrong.value)
    assert text.startswith(f"door.buyer_jwks_file: {tmp_path}/jwks.json: key 2: ")
    assert words in text
    assert not any(secret in text for secret in (SECRET, ED["x"], OCT["k"]))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", 'must be {"keys": [...]} with a key'),
        ('{"keys": {}}', 'must be {"keys": [...]} with a key'),
        ('{"keys": []}', 'must be {"keys": [...]} with a key'),
        ('{"keys": [5]}', "key 1: must be an object"),
    ],
)
def test_a_file_that_is_no_jwks(tmp_path: Path, document: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"door\.buyer_jwks_file: .+jwks\.json: ") as wrong:
        read(tmp_path, document)
    assert words in str(wrong.value)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        read_keys(Door(buyer_jwks_file=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match="Is a directory"):
        read_keys(Door(buyer_jwks_file=str(tmp_path)))


def test_no_key_at_all() -> None:
    with pytest.raises(ConfigError, match=r"no key of buyer tokens.+SECKILL_BUYER_KEYS"):
        read_keys(Door())


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8",
    ],
)
def test_a_public_key_is_no_secret(secret: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        read_keys(Door(buyer_keys=f"a:{SECRET},k:{secret}"))
    assert str(wrong.value).startswith("door.buyer_keys: secret 2 is a public key or a JWK")
    assert secret not in str(wrong.value)
