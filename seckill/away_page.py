"""The page that a browser gets while PostgreSQL is away: 503, one sentence, try again.

Middleware of the whole site. The API's own refusals never come here.
"""

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

from seckill.errors import ServiceAway
from seckill.events import event

log = logging.getLogger(__name__)

# Seconds after which the page loads itself again.
RETRY_AFTER_S = 5


class AwayPage:
    """Turns a service that is away, anywhere in a view, into that page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass through."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The page; None leaves any other error, which is a bug, to Django."""
        if isinstance(error, ServiceAway):
            service = error.service
        elif isinstance(error, OperationalError | InterfaceError):
            service = "PostgreSQL"
        else:
            return None
        log.warning("%s %s: 503, %s", request.method, request.path, error, extra=event("web-503"))
        if not request.accepts("text/html"):
            # A script of ours: the desk says it in its own words.
            answer = JsonResponse({"service": service}, status=503)
            answer["Cache-Control"] = "private, no-store"
            answer["Retry-After"] = str(RETRY_AFTER_S)
            return answer
        # Without the request: its context would ask the database who is logged in.
        page = render_to_string("seckill/away.html", {"service": service, "retry": RETRY_AFTER_S})
        response = HttpResponse(page, status=503)
        response["Retry-After"] = str(RETRY_AFTER_S)
        return response
