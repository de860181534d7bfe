"""What every call of the API passes: the rate limit before it, unknown parameters at its door.

Owns how callers are told apart. What it cannot count, since Redis is away, goes on: the call
itself says then what is away, and operators are never locked out.
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

# Characters of a hash that name a caller's credential.
CALLER = 32


def limited(run: Callable[..., Any]) -> Callable[..., Any]:
    """An operation of the API behind the rate limit; one that needs no credential is free.

    Decorator of `Operation.run`: comes before the credential is looked up.
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
                f"too many calls of this key or address; the next one in {verdict.retry_after_s} s",
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
    """A view that refuses query parameters which its operation does not have."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **values: Any) -> Any:
        check_query(request.GET, request.query_names)  # type: ignore[attr-defined]
        return view(request, *args, **values)

    return wrapped


def callers(request: HttpRequest) -> list[str]:
    """The buckets that a call counts in: its credential, as it is presented, and its address."""
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
