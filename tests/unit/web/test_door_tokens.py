"""Buyer tokens: who is let in, and every way in which a token can be wrong."""

import base64
import json
import random
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from seckill.web.door.buyer_keys import EDDSA, HS256, BuyerKey
from seckill.web.door.tokens import LEEWAY_S, MAX_LENGTH, BadToken, BuyerTokens

NOW = time.time()
SECRET, OLD_SECRET = b"s" * 32, b"o" * 32
PRIVATE = Ed25519PrivateKey.generate()
PUBLIC = PRIVATE.public_key()
KEYS = {
    "new": BuyerKey(HS256, SECRET),
    "old": BuyerKey(HS256, OLD_SECRET),
    "ed": BuyerKey(EDDSA, PUBLIC),
}
PRIVATE_KEYS = {"new": SECRET, "old": OLD_SECRET, "ed": PRIVATE}


def make(kid: str = "new", **claims: Any) -> str:
    """A token; a claim that is None is left out."""
    all_claims = {"sub": "1001", "exp": int(NOW) + 3600, **claims}
    kept = {name: value for name, value in all_claims.items() if value is not None}
    return _join({"alg": KEYS[kid].algorithm, "kid": kid}, kept, PRIVATE_KEYS[kid])


def _join(header: dict[str, Any], claims: Any, key: Any, algorithm: str | None = None) -> str:
    """A token as nobody's library would make it, signed by `algorithm`."""
    signed = f"{_part(header)}.{_part(claims)}"
    name = algorithm or header["alg"]
    if name == "none":
        return signed + "."
    signer = jwt.get_algorithm_by_name(name)
    signature = signer.sign(signed.encode(), key)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _part(content: Any) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def refusal(token: str, tokens: BuyerTokens | None = None, now: float = NOW) -> str:
    """The reason, one sentence that repeats nothing of the token."""
    with pytest.raises(BadToken) as bad:
        (tokens or BuyerTokens(KEYS)).verify(token, now)
    reason = str(bad.value)
    assert reason
    assert "\n" not in reason
    assert not any(part and part in reason for part in token.split("."))
    assert bad.value.__cause__ is None
    return reason


@pytest.mark.parametrize("kid", KEYS)
@pytest.mark.parametrize("user_id", [1, 1001, 2**63 - 1])
def test_a_buyer_is_known(kid: str, user_id: int) -> None:
    tokens = BuyerTokens(KEYS)
    for _ in range(2):
        assert tokens.verify(make(kid, sub=str(user_id)), NOW) == user_id


@pytest.mark.parametrize(
    "subject",
    ["", "0", "01", "-1", "+1", " 1", "1 ", "1.0", "1e3", "1_000", "١", "x", str(2**63), "9" * 30],
)
def test_a_sub_that_is_no_user_id(subject: str) -> None:
    assert "from 1 to 2^63-1" in refusal(make(sub=subject))


@pytest.mark.parametrize("subject", [1001, 1.5, True, ["1001"], {"id": "1001"}])
def test_a_sub_that_is_no_text(subject: Any) -> None:
    assert refusal(make(sub=subject)) == "the token's sub is not text"


@pytest.mark.parametrize("claim", ["sub", "exp"])
def test_a_claim_that_is_missing(claim: str) -> None:
    assert refusal(make(**{claim: None})) == f"the token has no {claim}"


@pytest.mark.parametrize("exp", ["soon", [], {}, "NaN"])
def test_an_exp_that_is_no_number(exp: Any) -> None:
    assert refusal(make(exp=exp)) == "the token cannot be read"


@pytest.mark.parametrize("number", [b"Infinity", b"NaN", b"-Infinity", b"1e999"])
def test_an_exp_without_end(number: bytes) -> None:
    claims = b'{"sub": "1001", "exp": ' + number + b"}"
    refusal(_join({"alg": HS256, "kid": "new"}, claims, SECRET))


def test_a_token_ends() -> None:
    assert refusal(make(exp=int(NOW) - 60)) == "the token has expired"
    assert refusal(make(nbf=int(NOW) + 3600)) == "the token is not valid yet"
    # One that is remembered ends too, and is forgotten.
    tokens, token = BuyerTokens(KEYS), make(exp=int(NOW) + 10_000)
    assert tokens.verify(token, NOW) == 1001
    assert tokens.verify(token, int(NOW) + 10_000 + LEEWAY_S - 0.1) == 1001
    assert refusal(token, tokens, int(NOW) + 10_000 + LEEWAY_S) == "the token has expired"
    assert not tokens._known


def test_a_forged_token() -> None:
    head, claims, signature = make().split(".")
    other = _part({"sub": "1002", "exp": int(NOW) + 3600})
    wrong = "the token's signature is wrong"
    assert refusal(f"{head}.{other}.{signature}") == wrong
    assert refusal(f"{head}.{claims}.{_part(b'x' * 32)}") == wrong
    assert refusal(_join({"alg": HS256, "kid": "new"}, {"sub": "1"}, OLD_SECRET)) == wrong
    stranger = Ed25519PrivateKey.generate()
    assert refusal(_join({"alg": EDDSA, "kid": "ed"}, {"sub": "1"}, stranger)) == wrong


CLAIMS = {"sub": "1001", "exp": int(NOW) + 3600}
RAW = PUBLIC.public_bytes(Encoding.Raw, PublicFormat.Raw)


@pytest.mark.parametrize(
    "token",
    [
        # What everybody may know must not sign: the public key taken for a secret.
        _join({"alg": HS256, "kid": "ed"}, CLAIMS, RAW),
        _join({"alg": EDDSA, "kid": "new"}, CLAIMS, PRIVATE),
        _join({"alg": "HS512", "kid": "new"}, CLAIMS, SECRET * 2),
        _join({"alg": "HS512", "kid": "new"}, CLAIMS, SECRET, HS256),
        _join({"kid": "new"}, CLAIMS, SECRET, HS256),
        _join({"alg": "hs256", "kid": "new"}, CLAIMS, SECRET, HS256),
        _join({"alg": "none", "kid": "new"}, CLAIMS, None) + _part(b"x"),
        _join({"alg": "NONE", "kid": "new"}, CLAIMS, SECRET, HS256),
    ],
    # The tokens hold the time, and both processes of a run must find the same tests.
    ids=range(8),
)
def test_the_key_decides_the_algorithm(token: str) -> None:
    assert refusal(token) == "the token's algorithm is not that of its key"


def test_a_token_without_a_signature() -> None:
    assert refusal(_join({"alg": "none", "kid": "new"}, CLAIMS, None)).startswith("not a JWT")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": HS256, "kid": "other"}, "no key here has the token's kid"),
        ({"alg": HS256}, "the token's header names no kid"),
        ({"alg": HS256, "kid": 7}, "the token cannot be read"),
        ({"alg": HS256, "kid": None}, "the token"),
        ([HS256, "new"], "the token cannot be read"),
        (b"x", "the token cannot be read"),
        (b"[" * 2_000, "the token cannot be read"),
        ({"alg": HS256, "kid": "new", "crit": ["exp"], "exp": 1}, "the token cannot be read"),
        ({"alg": HS256, "kid": "new", "crit": ["b64"], "b64": False}, "the token cannot be read"),
    ],
)
def test_a_header_that_is_wrong(header: Any, reason: str) -> None:
    assert refusal(_join(header, CLAIMS, SECRET, HS256)).startswith(reason)


@pytest.mark.parametrize("claims", [b"x", b"[" * 2_000, [], "text", 5])
def test_claims_that_are_no_object(claims: Any) -> None:
    token = _join({"alg": HS256, "kid": "new"}, claims, SECRET)
    assert refusal(token) == "the token cannot be read"


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "QQ.QQ", "Q.Q.Q.Q", "Q Q.Q.Q", "Q.Q.Q\n", "É.Q.Q", "\udcff.Q.Q", "Q.Q.Q=", "Q"],
)
def test_what_is_no_token(token: str) -> None:
    assert refusal(token)


def test_a_long_token() -> None:
    assert BuyerTokens(KEYS).verify(make(note="x" * 2_500), NOW) == 1001
    token = make(note="x" * MAX_LENGTH)
    assert refusal(token) == "the token is longer than 4,096 characters"


def test_audience_and_issuer() -> None:
    tokens = BuyerTokens(KEYS, "sale", "shop")
    assert tokens.verify(make(aud="sale", iss="shop"), NOW) == 1001
    assert tokens.verify(make(aud=["x", "sale"], iss="shop"), NOW) == 1001
    assert refusal(make(iss="shop"), tokens) == "the token has no aud"
    assert refusal(make(aud="sale"), tokens) == "the token has no iss"
    assert refusal(make(aud="sales", iss="shop"), tokens).endswith("another audience (aud)")
    assert refusal(make(aud=7, iss="shop"), tokens).endswith("another audience (aud)")
    assert refusal(make(aud="sale", iss="x"), tokens).endswith("another issuer (iss)")
    # Without one here, a token that is meant for somebody else is not for us.
    assert refusal(make(aud="sale")).endswith("another audience (aud)")
    assert BuyerTokens(KEYS).verify(make(iss="x"), NOW) == 1001


def test_keys_change_while_both_are_here() -> None:
    token = make("old")
    assert BuyerTokens(KEYS).verify(token, NOW) == 1001
    assert "no key" in refusal(token, BuyerTokens({"new": KEYS["new"]}))


def test_what_is_remembered_is_bounded_and_the_unused_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = BuyerTokens(KEYS, remembered=2)
    one, two, three = (make(sub=user) for user in ("1", "2", "3"))
    read: list[str] = []
    original = tokens._read

    def counted(token: str) -> tuple[int, float]:
        read.append(token)
        return original(token)

    monkeypatch.setattr(tokens, "_read", counted)
    for token in (one, two, one, three, one):
        tokens.verify(token, NOW)
    assert read == [one, two, three]
    tokens.verify(two, NOW)
    assert read == [one, two, three, two]
    assert len(tokens._known) == 2
    # What is refused is not remembered.
    refusal(make(sub="0"), tokens)
    assert len(tokens._known) == 2


ODD: list[Any] = [None, True, 0, -1, 1.5, "", "x", "1", "1001", "\ud800", "9" * 400, [], {}, [[]]]
ODD += [
    ["sale"],
    {"a": 1},
    10**30,
    float("inf"),
    float("nan"),
    2**63,
    NOW + 9e3,
    "none",
    HS256,
    EDDSA,
]


def test_odd_headers_and_claims_are_refusals_and_no_bugs() -> None:
    rng, tokens, taken = random.Random(7), BuyerTokens(KEYS, "sale"), 0
    for _ in range(4_000):
        header: dict[str, Any] = {"alg": HS256, "kid": "new", "typ": "JWT"}
        claims = {"sub": "1001", "exp": int(NOW) + 3600, "aud": "sale"}
        for part, names in (
            (header, ("alg", "kid", "typ", "crit", "b64", "jwk", "zip")),
            (claims, ("sub", "exp", "aud", "iss", "nbf", "iat", "jti")),
        ):
            for _ in range(rng.choice((0, 0, 1, 2))):
                part[rng.choice(names)] = rng.choice(ODD)
        token = _join(header, claims, SECRET, HS256)
        for _ in range(rng.choice((0, 0, 0, 1))):
            at = rng.randrange(len(token))
            token = token[:at] + rng.choice("aZ9-_.=+/ \n") + token[at + 1 :]
        try:
            user_id = tokens.verify(token, NOW)
        except BadToken:
            continue
        taken += 1
        assert str(user_id) == claims["sub"]
        assert (header["alg"], header["kid"]) == (HS256, "new")
        assert claims["aud"] in ("sale", ["sale"])
        assert float(claims["exp"]) > NOW
    assert 300 < taken < 3_000


def test_a_secret_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyJWT asks for each token whether its secret is a public key: half of what a token costs."""
    tokens = BuyerTokens(KEYS)

    def refused(_key: bytes) -> bool:
        raise AssertionError("looked at again")

    monkeypatch.setattr("jwt.algorithms.HMACAlgorithm._is_der_key", staticmethod(refused))
    assert tokens.verify(make(sub="7"), NOW) == 7
