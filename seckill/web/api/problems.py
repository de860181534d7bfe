"""Errors of the control API: each is `application/problem+json` with a reason in words.

Owns the mapping from exceptions to status codes and bodies. Any other exception is a bug, and
becomes a 500 with a traceback in the log.
"""

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from pydantic import BaseModel, Field

from seckill.control.control import Refused, VersionMoved
from seckill.errors import DoneInPart, NoSuchThing, PostgresAway, ServiceAway
from seckill.process.events import event
from seckill.web.api.strict import SHOWN, Unreadable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# How many wrong fields one answer names.
MAX_ERRORS = 20
MAX_MESSAGE = 300
# Texts for errors that pydantic words in terms of Python instead of JSON.
MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "unknown field",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "too_short": "must name at least one item",
}
# Seconds after which a client may try again while a service is away.
RETRY_AFTER_S = 5


class FieldError(BaseModel):
    """A field and what is wrong with it."""

    field: str = Field(examples=["value.1001"])
    message: str = Field(examples=["should be greater than or equal to 0"])


class Problem(BaseModel):
    """Why nothing was done."""

    title: str = Field(description="The status code in words.", examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["value.1001: should be greater than or equal to 0"])
    errors: list[FieldError] = Field(default=[], description="With 422: the fields.")
    service: str | None = Field(
        default=None, description="With 503: the service that is away.", examples=[None]
    )
    version: int | None = Field(
        default=None,
        description="With 409 for a version that has moved: the current version.",
        examples=[None],
    )


def body(
    status: int,
    detail: str,
    errors: Iterable[tuple[str, str]] = (),
    service: str | None = None,
    version: int | None = None,
) -> dict[str, Any]:
    """The body of an error, as JSON."""
    return Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=[FieldError(field=field, message=message) for field, message in errors],
        service=service,
        version=version,
    ).model_dump()


def problem(
    status: int,
    detail: str,
    errors: Iterable[tuple[str, str]] = (),
    service: str | None = None,
    version: int | None = None,
    retry_after_s: int | None = None,
) -> HttpResponse:
    """The response for an error."""
    said = body(status, detail, errors, service, version)
    response = JsonResponse(said, status=status, content_type=MEDIA_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="seckill"'
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after_s = RETRY_AFTER_S
    if retry_after_s is not None:
        response["Retry-After"] = str(retry_after_s)
    return response


def wrong_fields(errors: list[tuple[str, str]]) -> HttpResponse:
    """A 422 that names the fields."""
    field, message = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return problem(422, f"{field}: {message}{more}", errors[:MAX_ERRORS])


def register(api: NinjaAPI) -> None:
    """Register the handlers of these errors with an API."""
    api.add_exception_handler(HttpError, _http)
    api.add_exception_handler(ValidationError, _validation)
    api.add_exception_handler(Unreadable, _unreadable)
    api.add_exception_handler(Refused, _refused)
    api.add_exception_handler(ServiceAway, _away)
    for database in (OperationalError, InterfaceError):
        api.add_exception_handler(database, _database_away)
    api.add_exception_handler(RequestDataTooBig, lambda r, e: problem(413, "the body is too long"))
    for spoilt in (SuspiciousOperation, MultiPartParserError, UnreadablePostError):
        api.add_exception_handler(
            spoilt, lambda r, e: problem(400, "the request cannot be read; send JSON")
        )


def _http(request: HttpRequest, error: Any) -> HttpResponse:
    if isinstance(error.__cause__, Unreadable):
        return _unreadable(request, error.__cause__)
    detail = str(error)
    if error.status_code == HTTPStatus.UNAUTHORIZED and detail == "Unauthorized":
        detail = "a credential is needed: X-API-Key, Authorization: Bearer, or a staff session"
    return problem(error.status_code, detail)


def _unreadable(request: HttpRequest, error: Any) -> HttpResponse:
    return wrong_fields([(error.field, str(error))])


def _validation(request: HttpRequest, error: Any) -> HttpResponse:
    return wrong_fields([(_field(e["loc"]), _message(e)) for e in error.errors])


def _field(loc: tuple[Any, ...]) -> str:
    """The place in the form for people: value.1001, activity_id, query.activity_id, body."""
    source, *parts = (str(part) for part in loc)
    if source == "body":
        # The first part is the name of the operation's argument.
        parts = [part for part in parts[1:] if part != "[key]"]
        return ".".join(part[:SHOWN] for part in parts) or "body"
    return ".".join((source, *(part[:SHOWN] for part in parts)))


def _message(error: dict[str, Any]) -> str:
    ours = MESSAGES.get(error["type"])
    if ours:
        return ours
    text = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return text[:MAX_MESSAGE]


def _refused(request: HttpRequest, refused: Any) -> HttpResponse:
    if isinstance(refused, NoSuchThing):
        return problem(404, str(refused))
    if isinstance(refused, VersionMoved):
        return problem(409, str(refused), version=refused.found)
    if refused.field:
        return wrong_fields([(refused.field, str(refused))])
    return problem(409, str(refused))


def _away(request: HttpRequest, away: Any) -> HttpResponse:
    # The driver's text may name hosts and users: it goes to the log, not to the caller.
    log.warning("%s %s: 503, %s", request.method, request.path, away, extra=event("web-503"))
    if isinstance(away, DoneInPart):
        return problem(503, away.told, service="Redis")
    detail = (
        f"{away.service} is away; the call may have been done: see /status and the journal before "
        "you repeat it"
    )
    return problem(503, detail, service=away.service)


def _database_away(request: HttpRequest, error: Any) -> HttpResponse:
    return _away(request, PostgresAway(str(error).strip().splitlines()[0] if str(error) else "?"))
