"""Lets health probes use any Host header, or none, and the method HEAD.

Middleware of the whole site, before anything that checks the host. Load balancers use an address
as the host, and no probe's answer depends on it. It also removes the body of each answer to HEAD:
waitress leaves that to the application.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

PROBES = frozenset(("/healthz", "/readyz"))
# The host of a probe, whatever its header said.
ANY = "probe"


class Probes:
    """The middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The answer. To HEAD it has no body, but still the body's length."""
        head = request.method == "HEAD"
        if request.path_info in PROBES:
            request.get_host = lambda: ANY  # type: ignore[method-assign]
            if head:
                # The API has these routes only for GET.
                request.method = "GET"
        response = self.get_response(request)
        if head:
            if isinstance(response, StreamingHttpResponse):
                response.streaming_content = ()
            else:
                response.content = b""
        return response
