"""The page that a browser gets while a service is away: 503, what it means, and a retry.

Middleware of the whole site. The API handles its own errors before they get here.
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

# The services' names in our errors.
POSTGRES, REDIS = "PostgreSQL", "Redis"
# Seconds after which the page reloads.
RETRY_AFTER_S = 5


def what_it_means(service: str) -> str:
    """What a service that is away means for the sale, in the reader's language."""
    if service == POSTGRES:
        return _(
            "The sale goes on: requests are decided in Redis, and orders wait there until "
            "PostgreSQL is back. Nothing is lost."
        )
    return _("Nothing is decided until then: requests wait in Kafka. No sold unit is lost.")


class AwayPage:
    """Answers with that page if a view fails because a service is away."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The page; None for any other error, which is a bug and left to Django."""
        if isinstance(error, ServiceAway):
            service = error.service
        elif isinstance(error, OperationalError | InterfaceError):
            service = POSTGRES
        else:
            return None
        log.warning("%s %s: 503, %s", request.method, request.path, error, extra=event("web-503"))
        if not request.accepts("text/html"):
            # From the desk's script, which has its own text for this.
            answer = JsonResponse({"service": service}, status=503)
            answer["Cache-Control"] = "private, no-store"
            answer["Retry-After"] = str(RETRY_AFTER_S)
            return answer
        # Rendered without the request: its context would read the user from the database.
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
