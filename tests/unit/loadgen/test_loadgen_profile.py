"""Profiles, and what wins over what: mistakes are one line with file, key and what is allowed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from loadgen.plan import make_load
from loadgen.profile_file import names, parse_profile, read_profile
from seckill.config.layers import ConfigError
from seckill.config.sections import Client

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "rate is missing"),
    ({"rate": 1, "user": 3}, "unknown key user; did you mean users?"),
    ({"rate": 1, "multi": {"shar": 0.1}}, "unknown key multi.shar; did you mean share?"),
    ({"rate": [{"rats": 1}]}, "unknown key rate.0.rats; did you mean rate?"),
    ({"rate": [{"from": 1, "to": 2}]}, "rate.0: from and to need seconds"),
    ({"rate": [{"from": 1, "seconds": 2}]}, "rate.0: write either rate, or from and to"),
    ({"rate": [{"rate": 1}, {"rate": 2}]}, "only the last phase may have no seconds"),
    ({"rate": "fast"}, "rate: write requests/s as a number, or a list of phases"),
    ({"rate": -1}, "rate.0.rate: Input should be greater than or equal to 0 (given: -1)"),
    ({"rate": 0}, "rate: is 0 all the time"),
    ({"rate": float("inf")}, "finite number"),
    ({"rate": 1, "items": []}, "items: "),
    ({"rate": 1, "items": [1001, 1001]}, "items: an id is named twice"),
    ({"rate": 1, "items": {"phone": 1}}, "items.phone: Input should be a valid integer"),
    ({"rate": 1, "items": {1001: 0}}, "items.1001: Input should be greater than 0 (given: 0)"),
    ({"rate": 1, "quantity": [5, 1]}, "quantity: write one number, or [lowest, highest]"),
    ({"rate": 1, "quantity": 0}, "quantity.0: Input should be greater than or equal to 1"),
    ({"rate": 1, "stale": {"share": 1.5}}, "stale.share: Input should be less than or equal to 1"),
    (
        {"rate": 1, "stale": {"share": 0.6}, "multi": {"share": 0.6}},
        "multi, repeated, stale and malformed add up to 1.2, above 1",
    ),
    ({"rate": 1, "items": [1], "multi": {"share": 0.1}}, "wants 2 different items of 1"),
    ({"rate": 1, "malformed": {"kinds": ["emty"]}}, "malformed: unknown kind 'emty'; known: empty"),
    ({"rate": 1, "hot": {"items": [1]}}, "hot.share is missing"),
    ({"rate": 1, "seed": -1}, "seed: Input should be greater than or equal to 0 (given: -1)"),
]


@pytest.mark.parametrize(("document", "words"), WRONG, ids=lambda value: str(value)[:50])
def test_a_mistake_is_one_line_with_file_and_key(
    document: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError) as caught:
        read_profile(str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message
    assert "pydantic" not in message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("spke", "no profile 'spke'; did you mean spike?"),
        ("zzz", "known: constant, "),
        ("not/there.yaml", "cannot be read: No such file or directory"),
    ],
)
def test_a_profile_that_is_not_there(name: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_profile(name)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["rate: [", "- 1", "\x00", "just words"])
def test_a_file_that_is_no_profile(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_profile(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", names())
def test_each_shipped_profile_has_one_line_of_description_and_a_plan(name: str) -> None:
    profile = read_profile(name)
    assert profile.description
    assert "\n" not in profile.description
    load = make_load(Client(), profile, name, seed=1)
    assert load.requests > 0
    assert 0 < load.pacer.seconds < 120


def test_the_usual_kinds_of_profile_are_there() -> None:
    assert {"constant", "ramp", "spike", "hot", "dirty"} <= set(names())


def test_section_client_alone_is_one_request_for_each_user() -> None:
    load = make_load(Client(user_count=500, rate=250))
    assert (load.name, load.users, load.requests) == ("client", 500, 500)
    assert load.pacer.seconds == pytest.approx(2)


def test_delay_caps_the_rate_of_any_curve() -> None:
    assert make_load(Client(user_count=500, rate=250, delay=10)).pacer.seconds == pytest.approx(5)
    ramp = parse_profile({"rate": [{"from": 0, "to": 200, "seconds": 10}]}, "test")
    assert make_load(Client(delay=10), ramp).requests == 250 + 500


def test_flags_win_over_the_profile_and_the_profile_over_section_client() -> None:
    profile = parse_profile({"rate": [{"rate": 10, "seconds": 3}], "users": 7, "seed": 4}, "test")
    plain = make_load(Client(user_count=500, rate=999), profile)
    assert (plain.users, plain.seed, plain.requests) == (7, 4, 30)
    flags = make_load(Client(), profile, users=8, seed=5, requests=40, peak_rate=20)
    assert (flags.users, flags.seed, flags.requests) == (8, 5, 40)
    assert flags.pacer.due(3) == 40
    assert make_load(Client(user_count=500), parse_profile({"rate": 10}, "test")).requests == 500


def test_a_run_without_a_seed_gets_one_to_tell() -> None:
    seeds = {make_load(Client()).seed for _ in range(5)}
    assert len(seeds) > 1


@pytest.mark.parametrize(
    ("document", "client", "words"),
    [
        ({"rate": [{"from": 9, "to": 0, "seconds": 1}], "requests": 50}, {}, "ends at 0"),
        ({"rate": 1, "first_user": 2**63 - 1, "users": 2}, {}, "user's id would be above"),
        ({"rate": 1}, {"user_count": 10**9 + 1}, "above the 1000000000"),
    ],
)
def test_parts_that_contradict_each_other(
    document: dict[str, Any], client: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_load(Client(**client), parse_profile(document, "test"))
