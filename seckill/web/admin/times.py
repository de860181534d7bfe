"""A moment on a page: in the reader's time zone, with UTC beside it.

The server writes UTC. `seckill/static/seckill/times.js`, which each page of the admin loads, adds
the reader's own time, because only the browser knows the zone.
"""

from datetime import UTC, datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString


def moment(at: datetime) -> SafeString:
    """A `<time>` element. Without JavaScript it shows UTC."""
    at = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" data-moment>{} UTC</time>',
        at.isoformat(timespec="seconds"),
        f"{at:%Y-%m-%d %H:%M:%S}",
    )
