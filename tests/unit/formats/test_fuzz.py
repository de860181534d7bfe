"""Decoder and configuration under mutated inputs: no crash, no hang, memory flat, no other reading.

The short form; FUZZ=1000000 .venv/bin/python -m pytest tests/unit/formats/test_fuzz.py -s looks
longer.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seckill.config.layers import BASE_DIR, ConfigError, load, read_file
from seckill.config.sections import SECTIONS, Section
from seckill.errors import Poison
from seckill.formats.request import UNSET, decode, decode_all
from tests.helpers.fuzzing import INPUTS, SEED, VALID, Fuzz, NoRequest, Read, inputs, reference

# Megabytes that memory may grow by over nine tenths of a run: noise of the allocator.
FLAT_MB = 24
# Configurations are some fifty times slower to read than requests.
CONFIGURATIONS = INPUTS // 20
# Values that a person or a script could write for a parameter.
WORDS = (
    "", " ", "0", "1", "-1", "1.5", "1e9", "1e999", "nan", "inf", "yes", "true", "None", "[]", "{}",
    "1001:10", "1001:10,1002:5", "1001:10,1001:5", "1001:-1", "1001", ":", "1:1e3", "9" * 400,
    "localhost:9092", "localhost", "a:b:c", "[::1]:9092", "host:99999", "redis://", "redis://:p@h/0",
"redis://h:x/0", "postgresql://u:p%@h/d", "postgresql://", "postgres://u@h:5432/d?x=y", "::",
    "\0", "\n", "é漢", "\udcff", "PLAINTEXT", "kafka-python", "confluent-kafka", "a" * 300, "%s",
    "${X}",
)  # fmt: skip


def check(value: bytes) -> None:
    """Both readers read the same, or both refuse."""
    try:
        expected: Read | str = reference(value)
    except NoRequest as why:
        expected = f"none: {why}"
    # Among others, as a batch has it, it is judged as it is alone.
    alone, plain = decode_all([value])
    beside, _ = decode_all([VALID[0], value, VALID[1]])
    assert str(alone[0]) == str(beside[1]), value
    try:
        request = decode(value)
        assert alone[0] == request
        if plain:
            assert request.activity_id is request.request_id is UNSET
    except Poison as poison:
        text = str(poison)
        assert str(alone[0]) == text
        assert 0 < len(text) <= 300
        assert isinstance(expected, str) or "nested" in text, (value, expected, text)
        return
    found = Read(
        request.user_id, request.items, request.request_initiation_time, request.activity,
        request.request_id or "",
    )  # fmt: skip
    assert found == expected, value


@pytest.mark.timeout(0 if INPUTS > 20_000 else 600)
def test_requests() -> None:
    fuzz, rng = Fuzz(), random.Random(SEED)
    fuzz.run(inputs(INPUTS, rng), INPUTS, check)
    print(f"decoder: {fuzz}")
    assert fuzz.count == INPUTS
    assert fuzz.grown_mb < FLAT_MB


def test_the_mutations_make_requests_too() -> None:
    """Or both readers would agree on nothing but refusals."""
    rng = random.Random(SEED)
    taken = 0
    for value in inputs(2_000, rng):
        try:
            reference(value)
            taken += 1
        except NoRequest:
            continue
    assert 100 < taken < 1_900
    for value in VALID:
        check(value)
        reference(value)


def settings(count: int, rng: random.Random) -> Iterator[tuple[type[Section], dict[str, str]]]:
    """Sections with one to three variables of the environment."""
    for _ in range(count):
        section = rng.choice(SECTIONS)
        names = rng.sample(sorted(section.model_fields), rng.randint(1, 3))
        yield section, {f"SECKILL_{name.upper()}": _word(rng) for name in names}


def _word(rng: random.Random) -> str:
    word = rng.choice(WORDS)
    if rng.random() < 0.5:
        at = rng.randint(0, len(word))
        word = word[:at] + rng.choice(WORDS) + word[at + 1 :]
    return word


@pytest.mark.timeout(0 if INPUTS > 20_000 else 600)
def test_variables_of_the_environment(tmp_path: Path) -> None:
    nowhere = {"SECKILL_CONFIG": os.devnull, "SECKILL_DEVSTACK": str(tmp_path / "none")}

    def one(thing: tuple[type[Section], dict[str, str]]) -> None:
        section, values = thing
        try:
            loaded = load(section, {}, {**nowhere, **values})
        except ConfigError as wrong:
            _is_readable(str(wrong))
            return
        # What it took it takes again as it shows it.
        again = load(section, loaded.model_dump(), nowhere)
        assert again == loaded, values

    fuzz, rng = Fuzz(), random.Random(SEED)
    fuzz.run(settings(CONFIGURATIONS, rng), CONFIGURATIONS, one)
    print(f"environment: {fuzz}")
    assert fuzz.grown_mb < FLAT_MB


@pytest.mark.timeout(0 if INPUTS > 20_000 else 600)
def test_configuration_files(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    environment = {"SECKILL_CONFIG": str(path), "SECKILL_DEVSTACK": str(tmp_path / "none")}
    original = (BASE_DIR / "config.yaml").read_bytes()
    short = b"server:\n  topic: t\n  stock: {1001: 10}\n  timeout: 5\nclient: {rate: 10.0}\n"
    pieces = (
        original,
        short,
        short,
        short,
        b"server: &a {b: *a}\n",
        b"a: !!python/object:os.x {}\n",
    )

    def one(text: bytes) -> None:
        path.write_bytes(text)
        for section in SECTIONS[:2]:
            try:
                load(section, {}, environment)
            except ConfigError as wrong:
                _is_readable(str(wrong))

    fuzz, rng = Fuzz(), random.Random(SEED)
    fuzz.run(inputs(CONFIGURATIONS // 4, rng, pieces), CONFIGURATIONS // 4, one)
    print(f"files: {fuzz}")
    assert fuzz.grown_mb < FLAT_MB


def test_a_file_that_unfolds_without_end(tmp_path: Path) -> None:
    """Nine levels of nine references each: a few hundred bytes that would be 10^8 words."""
    path = tmp_path / "config.yaml"
    levels = [b"  a0: &a0 [x, x, x, x, x, x, x, x, x]\n"]
    for n in range(1, 9):
        levels.append(b"  a%d: &a%d [%b]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)))
    path.write_bytes(b"server:\n" + b"".join(levels))
    with pytest.raises(ConfigError, match="unknown key"):
        read_file(path)
    path.write_bytes(b"client:\n  topic:\n" + b"".join(b"  " + line for line in levels))
    environment: dict[str, Any] = {"SECKILL_CONFIG": str(path), "SECKILL_DEVSTACK": str(tmp_path)}
    with pytest.raises(ConfigError) as wrong:
        load(SECTIONS[1], {}, environment)
    _is_readable(str(wrong.value))


def _is_readable(text: str) -> None:
    """One line for a person."""
    assert 0 < len(text) < 2_000, text[:300]
    assert "\n" not in text.rstrip("\n"), text


def test_a_leak_would_be_seen() -> None:
    """The measure itself: what keeps a kilobyte of each input is not flat."""
    kept: list[bytes] = []
    fuzz = Fuzz()
    fuzz.run(
        iter([b"x" * 4096] * 40_000), 40_000, lambda value: kept.append(bytes(bytearray(value)))
    )
    assert fuzz.grown_mb > FLAT_MB
