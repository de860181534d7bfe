"""The control API: REST below /v1 and at the paths of the original. Its documentation is at /docs.

Owns how the parts are put together. `seckill.control.control` talks to Redis and PostgreSQL.
"""

from http import HTTPStatus
from typing import Any

from ninja import NinjaAPI, Swagger

from seckill import __version__
from seckill.web.api import gate, health, problems, v1
from seckill.web.api.operations import LOOK, router
from seckill.web.api.strict import StrictParser

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

**Errors** change nothing and are `application/problem+json`: 401 missing or wrong credential, 403
not allowed, 404 unknown activity, 409 conflict with the current state, 413 body too long, 422 with
the fields, 429 too many calls, 503 with the service that is away.
"""


class ControlApi(NinjaAPI):
    """NinjaAPI whose documentation names the media type of errors."""

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        """The OpenAPI document."""
        schema = super().get_openapi_schema(**kwargs)
        for methods in schema["paths"].values():
            for operation in methods.values():
                for status, response in operation["responses"].items():
                    content = response.get("content", {})
                    if int(status) >= HTTPStatus.BAD_REQUEST and "application/json" in content:
                        response["content"] = {problems.MEDIA_TYPE: content["application/json"]}
        return schema


api = ControlApi(
    title="Flash sale control",
    version=__version__,
    description=DESCRIPTION,
    urls_namespace="control",
    # Each operation has its own. This one makes the documentation page send the CSRF token.
    auth=LOOK,
    parser=StrictParser(),
    docs=Swagger(settings={"persistAuthorization": True, "defaultModelsExpandDepth": -1}),
)
problems.register(api)
api.add_decorator(gate.limited, mode="view")
api.add_decorator(gate.strict, mode="operation")
api.add_router("", router)
api.add_router("", health.router)
api.add_router("/v1", v1.router)
