"""The control API: REST below /v1 and at the paths of the original. Its documentation is at /docs.

Owns how the parts are put together. `seckill.control.control` talks to Redis and PostgreSQL.
"""

from ninja import Swagger

from seckill import __version__
from seckill.web.api import gate, health, problems, v1
from seckill.web.api.document import DESCRIPTION, ControlApi
from seckill.web.api.operations import LOOK, router
from seckill.web.api.strict import StrictParser

api = ControlApi(
    title="Flash sale control",
    version=__version__,
    description=DESCRIPTION,
    urls_namespace="control",
    servers=[{"url": "/", "description": "The server that this document comes from."}],
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
