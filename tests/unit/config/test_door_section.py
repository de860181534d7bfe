"""Section door: its secrets, their names, and the origins of pages."""

import os
from pathlib import Path

import pytest

from seckill.config.addresses import origins
from seckill.config.keyring import buyer_secrets, ticket_secrets
from seckill.config.layers import ConfigError, load
from seckill.config.sections import Door

A, B = "a" * 32, "b:" * 16


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (A, {0: A}),
        (f" 7:{A} , 0:{B}", {7: A, 0: B}),
        (f"255:{A},", {255: A}),
        ("é" * 16, {0: "é" * 16}),
    ],
)
def test_ticket_secrets(text: str, secrets: dict[int, str]) -> None:
    found = ticket_secrets(text)
    assert found == {kid: secret.encode() for kid, secret in secrets.items()}
    assert list(found) == list(secrets), "the first one signs"


def test_buyer_secrets() -> None:
    found = buyer_secrets(f"2026-11:{A},old.key_1:{B}")
    assert list(found.items()) == [("2026-11", A.encode()), ("old.key_1", B.encode())]


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("ticket_secret", SECRET, "secret 1 has less than 16 characters"),
        ("ticket_secret", f"1:{A},2:{SECRET}", "secret 2 has less than 16 characters"),
        ("ticket_secret", f"{SECRET}:{A}", "the kid of secret 1 is not a number from 0 to 255"),
        ("ticket_secret", f"256:{A}", "0 to 255"),
        ("ticket_secret", f"-1:{A}", "0 to 255"),
        ("ticket_secret", f"1:{A},01:{A}", "the kid of secret 2 stands before another one too"),
        ("ticket_secret", f"1:{A},{SECRET}", "must be KID:SECRET"),
        ("ticket_secret", ",", "must be KID:SECRET"),
        ("buyer_keys", A, "must be KID:SECRET"),
        ("buyer_keys", f"k:{SECRET}", "secret 1 has less than 32 bytes"),
        ("buyer_keys", f"k:{A[1:]}", "secret 1 has less than 32 bytes"),
        ("buyer_keys", f"k:{A},k:{B}", "the kid of secret 2 stands before another one too"),
        ("buyer_keys", f":{A}", "the kid of secret 1"),
        ("buyer_keys", f"k y:{A}", "the kid of secret 1"),
        ("buyer_keys", f"{SECRET * 10}:{A}", "the kid of secret 1"),
        ("cors_origins", "*", "must be origins"),
        ("cors_origins", "https://shop.example/", "must be origins"),
        ("cors_origins", f"https://u:{SECRET}@shop.example", "must be origins"),
        ("processes", "65", "less than or equal to 64"),
        ("user_rate", "-1", "greater than or equal to 0"),
        ("address_burst", "0", "greater than or equal to 1"),
        ("proxy_networks", "10.0.0.1/8", "has host bits set"),
    ],
)
def test_what_is_refused_and_no_part_of_a_secret_is_shown(
    tmp_path: Path, key: str, value: str, words: str
) -> None:
    with pytest.raises(ConfigError) as wrong:
        load_door(tmp_path, **{key: value})
    text = str(wrong.value)
    assert text.startswith(f"SECKILL_{key.upper()}: ")
    assert words in text
    assert not any(secret in text for secret in (SECRET, A, A[1:], B))


def test_no_secret_in_what_is_printed_of_the_section(tmp_path: Path) -> None:
    settings = load_door(tmp_path, ticket_secret=A, buyer_keys=f"k:{B}")
    assert A not in repr(settings)
    assert B not in repr(settings)


def test_origins(tmp_path: Path) -> None:
    settings = load_door(tmp_path, cors_origins="https://a.example, http://[::1]:3000,")
    assert origins(settings.cors_origins) == {"https://a.example", "http://[::1]:3000"}
    assert origins(load_door(tmp_path).cors_origins) == frozenset()


def load_door(folder: Path, **values: str) -> Door:
    """Section door, from these variables of the environment alone."""
    environ = {"SECKILL_CONFIG": os.devnull, "SECKILL_DEVSTACK": str(folder)}
    return load(Door, {}, environ | {f"SECKILL_{k.upper()}": v for k, v in values.items()})
