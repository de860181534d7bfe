"""Times in another unit than ms are told: which unit, by which message, once a minute."""

import logging
from collections.abc import Sequence

import pytest

from seckill.broker import Slice
from seckill.consumer.time_units import SAMPLES, TELL_AGAIN_S, TimeUnits, unit_of
from seckill.formats.outcomes import MAX_TIME_MS
from seckill.formats.request import decode
from tests.helpers.sale import body, now_ms

NOW_MS = 1_795_448_539_792


@pytest.mark.parametrize(
    ("initiated", "unit"),
    [
        (NOW_MS, None), (0, None), (10**8 - 1, None), (10**11, None), (10**14 - 1, None),
        (NOW_MS // 1000, "seconds"), (10**8, "seconds"), (10**11 - 1, "seconds"),
        (NOW_MS * 1000, "microseconds"), (10**14, "microseconds"), (MAX_TIME_MS, "microseconds"),
    ],
)  # fmt: skip
def test_units(initiated: int, unit: str | None) -> None:
    assert unit_of(initiated) == unit


def test_a_time_of_now_is_in_milliseconds() -> None:
    assert unit_of(now_ms()) is None
    assert unit_of(now_ms() // 1000) == "seconds"
    assert unit_of(now_ms() * 1000) == "microseconds"


def part(values: Sequence[bytes | None], first: int = 100) -> Slice:
    return Slice(3, list(range(first, first + len(values))), list(values))


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "seckill.consumer.time_units")
    return caplog


def test_a_unit_is_told_once_a_minute(told: pytest.LogCaptureFixture) -> None:
    now = 0.0
    units = TimeUnits(clock=lambda: now)
    seconds, micros = body(at=NOW_MS // 1000), body(at=NOW_MS * 1000)
    for _ in range(5):
        units.look(part([body(at=NOW_MS), seconds]))
    [line] = [record.getMessage() for record in told.records]
    assert "times are in seconds, where milliseconds are expected: partition 3, offset 101" in line
    assert f"request_initiation_time {NOW_MS // 1000}." in line
    units.look(part([micros], 7))
    assert "times are in microseconds" in told.records[-1].getMessage()
    assert told.records[-1].fields == {  # type: ignore[attr-defined]
        "unit": "microseconds", "partition": 3, "offset": 7,
    }  # fmt: skip
    now = TELL_AGAIN_S - 1
    units.look(part([micros, seconds]))
    assert len(told.records) == 2
    now = TELL_AGAIN_S
    units.look(part([micros, seconds]))
    assert len(told.records) == 4


def test_what_is_no_request_is_passed(told: pytest.LogCaptureFixture) -> None:
    units = TimeUnits()
    units.look(part([]))
    units.look(part([None, b"", b"{", body(at=NOW_MS, note="n" * 2000)]))
    assert told.records == []


def test_few_are_looked_at_and_others_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client among many is found by and by; a slice costs the same, however long it is."""
    seen: list[bytes | None] = []
    monkeypatch.setattr("seckill.consumer.time_units.decode", lambda v: seen.append(v) or decode(v))
    for length in (1, 2, 5, 40):
        values = [body(user) for user in range(1, length + 1)]
        units = TimeUnits()
        seen.clear()
        for look in range(1, length + 1):
            units.look(part(values))
            assert look <= len(seen) <= look * SAMPLES
        assert set(seen) == set(values)
