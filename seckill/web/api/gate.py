"""What every call of the API passes first: the rate limit, and the check for unknown parameters.

Owns how callers are told apart. If Redis is away, calls are not counted and continue: operators
are never locked out, and the call itself reports what is away.
"""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from seckill.web.api.problems import problem
from seckill.web.api.strict import check_query
from seckill.web.shared import rate_limit, services

# How many characters of its hash identify a credential.
CALLER = 32


def limited(run: Callable[..., Any]) -> Callable[..., Any]:
    """Rate-limit an operation of the API. Operations without a credential are not limited.

    Decorator of `Operation.run`: it runs before the credential is looked up.
    """
    operation: Any = run.__self__  # type: ignore[attr-defined]
    names = frozenset(
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in model.__ninja_flatten_map__
    )

    @wraps(run)
    def wrapped(request: HttpRequest, **values: Any) -> HttpResponse:
        request.query_names = names  # type: ignore[attr-defined]
        verdict = None if operation.auth_param is None else _count(request)
        if verdict is not None and not verdict.allowed:
            response = problem(
                429,
                f"too many calls from this key or address; try again in {verdict.retry_after_s} s",
                retry_after_s=verdict.retry_after_s,
            )
        else:
            response = run(request, **values)
        if verdict is not None:
            response["RateLimit-Limit"] = str(settings.RATE_BURST)
            response["RateLimit-Remaining"] = str(verdict.remaining)
            response["RateLimit-Reset"] = str(verdict.reset_s)
        return response

    return wrapped


def strict(view: Callable[..., Any]) -> Callable[..., Any]:
    """Make a view refuse query parameters that its operation does not have."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **values: Any) -> Any:
        check_query(request.GET, request.query_names)  # type: ignore[attr-defined]
        return view(request, *args, **values)

    return wrapped


def callers(request: HttpRequest) -> list[str]:
    """The buckets in which a call counts: its address, and its credential as it was sent."""
    key = (
        request.headers.get("X-API-Key")
        or request.headers.get("Authorization")
        or request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    )
    found = [f"address:{services.address_of(request)}"]
    if key:
        found.append("key:" + hashlib.sha256(key.encode()).hexdigest()[:CALLER])
    return found


def _count(request: HttpRequest) -> rate_limit.Verdict | None:
    return services.count_call(callers(request), settings.RATE_LIMIT, settings.RATE_BURST)
