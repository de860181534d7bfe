"""A moment as text for people: in their time zone, with UTC beside it."""

from datetime import UTC, datetime, tzinfo


def moment_text(moment: datetime, zone: tzinfo) -> str:
    """To the second, as `2026-11-11 20:00:00 (12:00:00 UTC)`. UTC's day only if it is another."""
    here, utc = moment.astimezone(zone), moment.astimezone(UTC)
    if not here.utcoffset():
        return f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    other = f"{utc:%H:%M:%S}" if here.date() == utc.date() else f"{utc:%m-%d %H:%M:%S}"
    return f"{here:%Y-%m-%d %H:%M:%S} ({other} UTC)"


def zone_text(zone: tzinfo, at: datetime) -> str:
    """A zone's name and its distance from UTC at a moment, as `Asia/Shanghai, UTC+08:00`."""
    offset = at.astimezone(zone).strftime("%z")
    name = str(zone)
    if not offset.strip("+-0"):
        return "UTC" if name == "UTC" else f"{name}, UTC"
    return f"{name}, UTC{offset[:3]}:{offset[3:5]}"
