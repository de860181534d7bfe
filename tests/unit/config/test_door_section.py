"""Section door: its secrets, their names, and the origins of pages."""

import os
from pathlib import Path

import pytest

from devstack.state import keep_door_secrets
from seckill.config import embedded
from seckill.config.addresses import origins
from seckill.config.keyring import buyer_secrets, ticket_secrets
from seckill.config.layers import ConfigError, load
from seckill.config.sections import ControlApi, Door

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
        ("payment_keys", SECRET, "must be KID:SECRET"),
        ("payment_keys", f"shop:{SECRET}", "key 1 is not the SHA-256 of a key"),
        ("payment_keys", f"s:{'0' * 64},s:{'1' * 64}", "the name of key 2 stands before another"),
        ("payment_keys", f"s p:{'0' * 64}", "the name of key 1"),
        ("payment_secrets", f"shop:{SECRET}", "secret 1 has less than 32 bytes"),
        ("pay_url", "https://shop.example/pay", "must have {ticket} once"),
        ("pay_url", "https://{ticket}.example/pay", "must have {ticket} once"),
        ("pay_url", "javascript:{ticket}", "must be an http or https address"),
        ("pay_url", f"https://u:{SECRET}@shop.example/{{ticket}}", "without a user"),
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


def test_its_port_has_a_variable_of_its_own(tmp_path: Path) -> None:
    environ = {"SECKILL_CONFIG": os.devnull, "SECKILL_DEVSTACK": str(tmp_path)}
    environ |= {"SECKILL_PORT": "8000", "SECKILL_DOOR_PORT": "8001", "SECKILL_TOPIC": "t"}
    assert load(ControlApi, environ=environ).port == 8000
    door = load(Door, environ=environ)
    assert (door.port, door.topic) == (8001, "t")
    del environ["SECKILL_DOOR_PORT"]
    assert load(Door, environ=environ).port == 3001
    with pytest.raises(ConfigError, match="unknown variable SECKILL_DOOR_TOPIC"):
        load(Door, environ=environ | {"SECKILL_DOOR_TOPIC": "t"})
    with pytest.raises(ConfigError, match=r"^SECKILL_DOOR_PORT: .*given: 'three'"):
        load(Door, environ=environ | {"SECKILL_DOOR_PORT": "three"})


def test_embedded_services_come_with_its_secrets(tmp_path: Path) -> None:
    keep_door_secrets(tmp_path)
    kept = tmp_path / embedded.DOOR_FILE
    assert kept.stat().st_mode & 0o777 == 0o600
    made = load_door(tmp_path)
    assert ticket_secrets(str(made.ticket_secret))
    assert buyer_secrets(str(made.buyer_keys))
    # Tabs of an earlier run keep their tickets, and another folder has other secrets.
    keep_door_secrets(tmp_path)
    assert load_door(tmp_path) == made
    other = tmp_path / "other"
    other.mkdir()
    keep_door_secrets(other)
    assert load_door(other).ticket_secret != made.ticket_secret
    assert load_door(tmp_path, ticket_secret=A).ticket_secret == A
    kept.write_text("{")
    assert load_door(tmp_path).ticket_secret is None
    keep_door_secrets(tmp_path)
    assert load_door(tmp_path).ticket_secret not in (None, made.ticket_secret)


def load_door(folder: Path, **values: str) -> Door:
    """Section door, from these variables of the environment alone."""
    environ = {"SECKILL_CONFIG": os.devnull, "SECKILL_DEVSTACK": str(folder)}
    return load(Door, {}, environ | {f"SECKILL_{k.upper()}": v for k, v in values.items()})
