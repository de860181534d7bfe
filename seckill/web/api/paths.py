"""Every path of the API answers errors as problem+json, whoever found the error.

Middleware of the whole site, outside of what answers with pages: an unknown path, a wrong method,
a Host that is not ours, a bug. Owns which paths are the API's. HEAD is answered wherever GET is.
"""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

from seckill.web.api.problems import MEDIA_TYPE, problem
from seckill.web.shared.probes import PROBES

UNVERSIONED = ("set_stock", "finish_activity", "sync_from_db", "status", "openapi.json")
_FIRST_PARTS = frozenset(("v1", *UNVERSIONED, *(path.strip("/") for path in PROBES)))
DETAILS = {
    400: "the request cannot be read, or its Host is not one of this site (SECKILL_ALLOWED_HOSTS)",
    404: "no such path: {method} {path}; /openapi.json lists all",
    405: "{path} has no {method}; it has {allowed}",
    500: "this is a fault of ours; the log of the web process has it. An act may have been done: "
    "see the journal before you repeat it",
}


def is_api(path: str) -> bool:
    """Whether a path is the API's or lies below one of it."""
    return path.lstrip("/").partition("/")[0] in _FIRST_PARTS


class Problems:
    """The middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The answer; another one's error on an API path is put into our words."""
        if not is_api(request.path_info):
            return self.get_response(request)
        method = str(request.method)
        if method == "HEAD":
            request.method = "GET"
        answer = self.get_response(request)
        status = answer.status_code
        if status < HTTPStatus.BAD_REQUEST or answer["Content-Type"] == MEDIA_TYPE:
            return answer
        allowed = ", ".join(sorted(answer.get("Allow", "").split(", ")))
        detail = DETAILS.get(status, HTTPStatus(status).phrase).format(
            method=method, path=request.path[:200], allowed=allowed
        )
        ours = problem(status, detail)
        for name, value in answer.items():
            if name not in ours and name != "Content-Length":
                ours[name] = value
        return ours
