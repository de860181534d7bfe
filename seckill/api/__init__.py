"""The control API: REST at the paths of the original, documented at /docs and /openapi.json.

Owns how the parts are put together. Knows nothing of Redis or PostgreSQL: `seckill.control` does.
"""

from http import HTTPStatus
from typing import Any

from ninja import NinjaAPI, Swagger

from seckill.api import problems
from seckill.api.operations import LOOK, router
from seckill.api.strict import StrictParser

DESCRIPTION = """\
Steers a running flash sale. Every act is atomic, is journalled with its actor, and raises the
activity's version. `activity_id` is optional everywhere, in the query or in the body; the default
is 1.

**Credentials**: an API key (`manage.py create_api_key NAME`, or in the admin) as `X-API-Key` or as
`Authorization: Bearer`, or the session of a staff user, which needs the CSRF token for POST.

**Refusals** change nothing and are `application/problem+json`: 401 no or wrong credential, 403 not
allowed, 404 unknown activity, 409 somebody else is steering, 413 too long, 422 with the fields
named, 503 with the service that is away.
"""


class ControlApi(NinjaAPI):
    """NinjaAPI whose documentation names the media type of refusals."""

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
    version="1.0.0",
    description=DESCRIPTION,
    urls_namespace="control",
    # Each operation has its own; this one has the documentation page send the CSRF token.
    auth=LOOK,
    parser=StrictParser(),
    docs=Swagger(settings={"persistAuthorization": True, "defaultModelsExpandDepth": -1}),
)
problems.register(api)
api.add_router("", router)
