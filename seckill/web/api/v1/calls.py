"""What the versioned routes share: the headers of acts, the call of Control, pages.

Owns idempotency and preconditions of acts. An `Idempotency-Key` identifies one act of one caller
for good. The journal's row holds it, so a repeat gets the first answer even if that was lost.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Header, Path
from pydantic import BaseModel, WithJsonSchema

from seckill.control.control import Act, Control, Once, Refused
from seckill.formats.lanes import MAIN
from seckill.models import Activity
from seckill.web.api.operations import REFUSALS, STEER, actor
from seckill.web.api.problems import Problem
from seckill.web.api.schemas import ActOut
from seckill.web.api.strict import TextId
from seckill.web.api.v1.schemas import ActBody, CreateBody
from seckill.web.shared import services

ActivityPath = Annotated[TextId, Path(description="The activity.")]
KEY, VERSION = r"^[!-~]{1,100}$", r'^("[0-9]{1,15}")?$'
IdempotencyKey = Annotated[str | None, WithJsonSchema({"type": "string", "pattern": KEY})]
IfMatch = Annotated[str | None, WithJsonSchema({"type": "string", "pattern": VERSION})]
NAMED: Any = Header(
    None,
    alias="Idempotency-Key",
    pattern=KEY,
    description="Identifies this act: a repeat with the same key does nothing and gets the same "
    "answer. Use a new key, such as a UUID, for each act.",
)
MATCHING: Any = Header(
    None,
    alias="If-Match",
    pattern=VERSION,
    description="The version that the act is based on, in quotes, as in ETag. The same as "
    "`expected_version` in the body: 409 if it has moved.",
)
LOOKS = frozenset({400, 401, 403, 404, 422, 429, 503})
ACT = {200: ActOut, REFUSALS | {409}: Problem}
ACT_OPTIONS: dict[str, Any] = {"auth": STEER, "response": ACT}


def act(
    request: HttpRequest,
    response: HttpResponse,
    activity_id: int,
    body: ActBody | None,
    key: str | None,
    if_match: str | None,
    do: Callable[[Control, int | None], Act],
) -> ActOut:
    """Do one act in the lane of its activity, with these headers and body; returns its answer, with
    the version in ETag.
    """
    expected = body.expected_version if body else None
    if if_match:
        named = int(if_match.strip('"'))
        if expected not in (None, named):
            raise Refused("If-Match and body name different versions")
        expected = named
    return answer(response, do(control(request, body, key, activity_id=activity_id), expected))


def control(
    request: HttpRequest,
    body: ActBody | CreateBody | None,
    key: str | None,
    *,
    activity_id: int | None = None,
    lane: str = MAIN,
) -> Control:
    """Control for the caller, with the note and the idempotency key of the call."""
    once = None if key is None else Once(key, _fingerprint(request, body))
    note = body.note if body else ""
    return services.control(actor(request), note, once, activity_id=activity_id, lane=lane)


def answer(response: HttpResponse, done: Act) -> ActOut:
    """The response for an act, with its headers."""
    response["ETag"] = f'"{done.version}"'
    if done.repeated:
        response["Idempotency-Replayed"] = "true"
    return ActOut.of(done)


def newest(model: type[Model], activity_id: int | None, before: int | None) -> "QuerySet[Any]":
    """Rows, the newest first: of this activity, of the head of a split sale those of all parts, and
    older than the one with this number.
    """
    rows: QuerySet[Any] = model._default_manager.order_by("-pk")
    if activity_id is not None:
        rows = rows.filter(activity_id__in=Activity.of_sale(activity_id))
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return rows


def page(
    rows: "QuerySet[Any] | list[Any]", limit: int, cursor_of: Callable[[Any], int]
) -> tuple[list[Any], str | None]:
    """A page of ordered rows, and the cursor of the next page. Reads one row more; no count."""
    found: list[Model] = list(rows[: limit + 1])
    return found[:limit], str(cursor_of(found[limit - 1])) if len(found) > limit else None


def _fingerprint(request: HttpRequest, body: BaseModel | None) -> str:
    """A hash of what makes two calls the same: method, path, precondition and parsed body."""
    said = body.model_dump(mode="json", exclude_unset=True) if body else {}
    whole = [request.method, request.path, request.headers.get("If-Match", ""), said]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
