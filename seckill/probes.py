"""What probes may do that others may not: come by any name or none, and ask by HEAD.

Middleware of the whole site, before all that looks at the name. Nothing in a probe's answer depends
on the name that it came by, and balancers come by an address. It also sends no body to HEAD, which
is the application's part: waitress sends what it is given.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

PROBES = frozenset(("/healthz", "/readyz"))
# Stands for the name, whatever it was.
ANY = "probe"


class Probes:
    """Lets them through."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The answer; to HEAD without its body, whose length is still told."""
        head = request.method == "HEAD"
        if request.path_info in PROBES:
            request.get_host = lambda: ANY  # type: ignore[method-assign]
            if head:
                # The API knows only GET.
                request.method = "GET"
        response = self.get_response(request)
        if head:
            if isinstance(response, StreamingHttpResponse):
                response.streaming_content = ()
            else:
                response.content = b""
        return response
