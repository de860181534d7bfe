"""The page that a browser gets while a service is away: 503, what it means, try again.

Middleware of the whole site. The API's own refusals never come here.
"""

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from seckill.errors import ServiceAway
from seckill.process.events import event

log = logging.getLogger(__name__)

# What our errors call them.
POSTGRES, REDIS = "PostgreSQL", "Redis"
# Seconds after which the page loads itself again.
RETRY_AFTER_S = 5


def what_it_means(service: str) -> str:
    """What a service that is away means for the sale, in the reader's language."""
    if service == POSTGRES:
        return _(
            "The sale goes on: requests are decided in Redis, and orders wait there until "
            "PostgreSQL is back. Nothing is lost."
        )
    return _("Nothing is decided meanwhile: requests wait in Kafka. Nothing that was sold is lost.")


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
            service = POSTGRES
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
        context = {
            "service": service,
            "meaning": what_it_means(service),
            "acted": request.method == "POST",
            "retry": RETRY_AFTER_S,
        }
        page = render_to_string("seckill/away.html", context)
        response = HttpResponse(page, status=503)
        response["Retry-After"] = str(RETRY_AFTER_S)
        return response
