"""`manage.py create_buyer_token`: a door takes its tokens, and a mistake is one line."""

import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.management import CommandError, call_command
from jwt.algorithms import OKPAlgorithm

from seckill.config.layers import BASE_DIR, load
from seckill.config.sections import Door
from seckill.process import exit_codes
from seckill.web.door.tokens import BadToken, BuyerTokens

A, B = "a" * 32, "b" * 32


@pytest.fixture(autouse=True)
def _configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECKILL_CONFIG", os.devnull)
    # Embedded services of this checkout come with keys.
    monkeypatch.setenv("SECKILL_DEVSTACK", os.devnull)
    monkeypatch.setenv("SECKILL_BUYER_KEYS", f"a:{A},b:{B}")


def printed(*words: str) -> list[str]:
    """The lines of the command's standard output."""
    output = StringIO()
    call_command("create_buyer_token", *words, stdout=output)
    return output.getvalue().splitlines()


def users(tokens: list[str], now: float | None = None) -> list[int]:
    """Whom a door with this configuration knows by these tokens."""
    door = BuyerTokens.of(load(Door))
    return [door.verify(token, now or time.time()) for token in tokens]


def test_a_door_takes_them() -> None:
    tokens = printed("1001-1003", "7", f"{2**63 - 1}", "--ttl", "60")
    assert users(tokens) == [1001, 1002, 1003, 7, 2**63 - 1]
    with pytest.raises(BadToken, match="expired"):
        users(tokens, time.time() + 70)
    assert {jwt.get_unverified_header(token)["kid"] for token in tokens} == {"a"}
    [token] = printed("5", "--kid", "b")
    assert jwt.get_unverified_header(token)["kid"] == "b"
    assert users([token]) == [5]


def test_audience_and_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECKILL_BUYER_AUDIENCE", "sale")
    monkeypatch.setenv("SECKILL_BUYER_ISSUER", "shop")
    assert users(printed("1")) == [1]
    with pytest.raises(BadToken, match="audience"):
        users(printed("1", "--audience", "other"))


def test_with_an_ed25519_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = Ed25519PrivateKey.generate()
    file, jwks = pem(tmp_path, private), tmp_path / "jwks.json"
    public = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    jwks.write_text(json.dumps({"keys": [{**public, "kid": "ed"}]}))
    monkeypatch.setenv("SECKILL_BUYER_JWKS_FILE", str(jwks))
    assert users(printed("1-2", "--private-key", file, "--kid", "ed")) == [1, 2]
    assert refused("1", "--kid", "ed").startswith("--kid: of 'ed' the door has the public key only")
    monkeypatch.delenv("SECKILL_BUYER_KEYS")
    assert "no key here can sign" in refused("1")
    assert refused("1", "--private-key", file).startswith("--kid: needed with --private-key")


def pem(folder: Path, private: Ed25519PrivateKey | X25519PrivateKey) -> str:
    """The path of a file with this key."""
    file = folder / "key.pem"
    file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(file)


def refused(*words: str) -> str:
    """The one line of a refusal, which has the exit code of a wrong command line."""
    with pytest.raises(CommandError) as wrong:
        printed(*words)
    # argparse's own errors have no code of ours: Django gives 2 on the command line.
    assert wrong.value.returncode in (1, exit_codes.USAGE)
    assert "\n" not in str(wrong.value)
    assert A not in str(wrong.value)
    return str(wrong.value)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["0"], "'0' is not a user or a range of users from 1 to"),
        (["2000-1001"], "'2000-1001' is not"),
        (["1-x"], "'1-x' is not"),
        (["1,2"], "'1,2' is not"),
        ([str(2**63)], "is not a user"),
        (["1-"], "'1-' is not"),
        (["١"], "is not a user"),
        (["1", "--ttl", "0"], "not a whole number above 0"),
        (["1", "--kid", "c"], "--kid: there is no key 'c'; known: a, b"),
        (["1", "--private-key", "/none", "--kid", "c"], "--private-key: /none: No such file"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], reason: str) -> None:
    assert reason in refused(*words)


def test_a_file_with_no_such_key(tmp_path: Path) -> None:
    file = pem(tmp_path, X25519PrivateKey.generate())
    reason = "is not an Ed25519 private key in PEM"
    assert reason in refused("1", "--private-key", file, "--kid", "c")
    Path(file).write_text("no key")
    assert reason in refused("1", "--private-key", file, "--kid", "c")


def test_no_key_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECKILL_BUYER_KEYS")
    assert "there is no key of buyer tokens" in refused("1")


def test_a_reader_that_has_had_enough() -> None:
    command = [sys.executable, "manage.py", "create_buyer_token", f"1-{10**9}"]
    with subprocess.Popen(
        command, cwd=BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert users([process.stdout.readline().strip()]) == [1]
        process.stdout.close()
        assert process.stderr.read() == ""
    # The end of every command whose reader has left.
    assert process.returncode == -signal.SIGPIPE
