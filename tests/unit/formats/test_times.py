"""Times as people read them: their own zone, and UTC beside it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from seckill.formats.times import moment_text, zone_text

NOON = datetime(2026, 11, 11, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "moment", "text"),
    [
        ("UTC", NOON, "2026-11-11 12:00:00 UTC"),
        ("Asia/Shanghai", NOON, "2026-11-11 20:00:00 (12:00:00 UTC)"),
        ("Asia/Shanghai", NOON.replace(hour=17), "2026-11-12 01:00:00 (11-11 17:00:00 UTC)"),
        ("Europe/London", NOON, "2026-11-11 12:00:00 UTC"),
        ("Europe/London", NOON.replace(month=7), "2026-07-11 13:00:00 (12:00:00 UTC)"),
    ],
)
def test_a_moment_names_utc(zone: str, moment: datetime, text: str) -> None:
    assert moment_text(moment, ZoneInfo(zone)) == text


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "UTC"),
        ("Asia/Shanghai", "Asia/Shanghai, UTC+08:00"),
        ("America/St_Johns", "America/St_Johns, UTC-03:30"),
        ("Europe/London", "Europe/London, UTC"),
    ],
)
def test_a_zone_names_its_distance_from_utc(zone: str, text: str) -> None:
    assert zone_text(ZoneInfo(zone), NOON) == text
