"""Times on the admin's pages: in the reader's zone, with UTC beside it.

`seckill.web.shared.zone` knows the zone from the browser. `seckill/static/seckill/times.js` writes
the times that come in later, in the same look.
"""

from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.functional import lazy

from seckill.formats.times import moment_text, zone_text


def clock(moment: datetime | None) -> str | None:
    """A time as text, to the second, in the reader's time zone, with UTC beside it."""
    return moment_text(moment, timezone.get_current_timezone()) if moment else None


def _zone() -> str:
    return zone_text(timezone.get_current_timezone(), timezone.now())


# The reader's time zone by name, for the labels of forms.
ZONE: Any = lazy(_zone, str)()
