"""The time zone of a page: the reader's in the admin, as the browser tells it in a cookie.

`static/seckill/zone.js` writes the cookie, from the login page on. Without it, and in the API,
times are UTC. Whatever shows a time names UTC beside it, and forms name the zone that they mean.
"""

from collections.abc import Callable
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from seckill.web.shared.language import FOR_PEOPLE

COOKIE = "zone"
# The longest name of a zone has 32 characters.
LONGEST = 64


class ZoneOfPeople:
    """Middleware: activates the reader's zone for pages of people, and UTC for all others."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The answer, made in this zone."""
        name = request.COOKIES.get(COOKIE, "") if request.path_info.startswith(FOR_PEOPLE) else ""
        zone = _zone(name) if 0 < len(name) <= LONGEST else None
        with timezone.override(zone):
            return self._get_response(request)


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | None:
    """None for what is no zone of this machine."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
