"""The OpenAPI document: what django-ninja writes of the operations, made complete for generators.

Owns names of operations, examples, and the meaning of each status code. What it says of a field
stands beside the field, in the schemas.
"""

from http import HTTPStatus
from typing import Any

from ninja import NinjaAPI

from seckill.web.api import operations, problems

DESCRIPTION = """\
Controls a running flash sale. Every act is atomic, is recorded in the journal with its actor, and
increases the activity's version. Everything is below `/v1`. The four paths without a version are
those of the program that this one is modelled on; there `activity_id` is optional, by default 1.

**Concurrent acts**: send the version that you have seen as `If-Match` or as `expected_version`. If
somebody else has acted since, nothing changes and the answer gives the current version.

**Repeats**: send an `Idempotency-Key` with an act. If its answer is lost, repeat the same call: the
act is done once, and the repeat returns the first answer with `Idempotency-Replayed: true`. The
same key with a different call is 422; while the first call is under way it is 409. A refused call
frees its key.

**Credentials**: an API key (`manage.py create_api_key NAME`, or in the admin) as `X-API-Key` or as
`Authorization: Bearer`, or the session of a staff user, which needs the CSRF token for POST.

**Errors** change nothing and are `application/problem+json`; each call lists its own.

**Versions of the API**: below `/v1` fields, parameters and paths are only ever added.
"""

TAGS = {
    "activities": "Sales, their rules and their items.",
    "acts": "What operators do to a sale. Each is atomic and stands in the journal.",
    "lookups": "What is known: the lane, the journal, orders, results, the audit.",
    "control": "The paths of the original program, without a version.",
    "health": "Probes, without a credential.",
}
# What a status code means for the caller, and an example of its `detail`.
REFUSALS = {
    400: (
        "The request cannot be read as HTTP with a JSON body.",
        "the request cannot be read; send JSON",
    ),
    401: (
        "No credential, or one that is unknown or revoked.",
        "a credential is needed: X-API-Key, Authorization: Bearer, or a staff session",
    ),
    403: (
        "The credential is known and may not do this.",
        "API key 'screen' may look, but not steer",
    ),
    404: ("What the call names is not known.", "activity 77 is not known"),
    409: (
        "The state of the sale does not allow it, or the version has moved (see `version`). "
        "Nothing was changed.",
        "activity 1 is at version 5, not 4",
    ),
    413: ("The body is too long.", "the body is too long"),
    422: (
        "A field, parameter or header is wrong; `errors` names each.",
        "value.1001: should be greater than or equal to 0",
    ),
    429: (
        "Too many calls from this key or address; `Retry-After` says for how long.",
        "too many calls from this key or address; try again in 1 s",
    ),
    503: (
        "A service is away; `service` names it. An act may have been done: repeat it with the same "
        "`Idempotency-Key`.",
        "Redis is away; the call may have been done: see /status and the journal before you repeat "
        "it",
    ),
}
# The further members of such an answer.
_MORE: dict[int, dict[str, Any]] = {
    409: {"version": 5},
    422: {"errors": [("value.1001", "should be greater than or equal to 0")]},
    503: {"service": "Redis"},
}
_RETRY_AFTER = {
    "Retry-After": {"description": "Seconds until a new try.", "schema": {"type": "integer"}}
}
_OF_ACTS = {
    "ETag": {
        "description": "The version after the act, in quotes.",
        "schema": {"type": "string"},
    },
    "Idempotency-Replayed": {
        "description": "`true`: an earlier call with this key did it; this is its answer.",
        "schema": {"type": "string"},
    },
}


class ControlApi(NinjaAPI):
    """NinjaAPI whose document is valid, has short names, and examples of all that is sent."""

    def get_openapi_operation_id(self, operation: Any) -> str:
        """The name of the function; those at the original's paths say so, as `/v1` has them too."""
        name = str(operation.view_func.__name__)
        return f"original_{name}" if operation.view_func.__module__ == operations.__name__ else name

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        """The OpenAPI 3.1 document."""
        document = super().get_openapi_schema(**kwargs)
        schemas = document["components"]["schemas"]
        document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
        for methods in document["paths"].values():
            for operation in methods.values():
                _complete(operation, schemas)
        return document


def _complete(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for parameter in operation["parameters"]:
        # django-ninja repeats the schema's list, and a parameter's own examples are a map.
        parameter.pop("examples", None)
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content["example"] = example(content["schema"], schemas)
        _optional(content["schema"], schemas)
    is_act = any(parameter["name"] == "Idempotency-Key" for parameter in operation["parameters"])
    operation["responses"] = dict(sorted(operation["responses"].items()))
    for status, response in operation["responses"].items():
        content = response["content"].pop("application/json")
        if int(status) < HTTPStatus.BAD_REQUEST:
            response["content"]["application/json"] = content
            content["example"] = example(content["schema"], schemas)
            if is_act:
                response["headers"] = _OF_ACTS
            continue
        response["description"], detail = REFUSALS[int(status)]
        if int(status) in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            response["headers"] = _RETRY_AFTER
        content["example"] = problems.body(int(status), detail, **_MORE.get(int(status), {}))
        response["content"][problems.MEDIA_TYPE] = content


def _optional(schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Take the defaults out of a body's members: generators would make the sender give them."""
    for part in schema.get("anyOf", [schema]):
        name = part.get("$ref", "").rpartition("/")[2]
        for member in schemas.get(name, {}).get("properties", {}).values():
            member.pop("default", None)


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """A value of a schema, from the examples of its parts."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    for known in ("examples", "example", "const", "default"):
        if known in schema:
            return schema[known][0] if known == "examples" else schema[known]
    if "anyOf" in schema:
        return example(schema["anyOf"][0], schemas)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: example(part, schemas) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema["items"], schemas)]
    if schema.get("format") == "date-time":
        return "2026-11-11T12:00:00Z"
    return {"boolean": False, "integer": schema.get("minimum", 0), "null": None}.get(str(kind), "")
