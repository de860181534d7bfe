"""`GET /openapi.json` and `GET /docs`: the document, and Swagger UI on it.

Its files are those that django-ninja brings for the control API: nothing comes from another host.
"""

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from seckill.web.door.docs.document import document
from seckill.web.door.files import HTML, POLICY, file_response
from seckill.web.door.http import JSON, Problem, Response

_FILES = {
    "swagger-ui.css": b"text/css; charset=utf-8",
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "swagger-ui-init.js": b"text/javascript; charset=utf-8",
}
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The buyers' door</title>
<link rel="icon" href="/buy/files/icon.svg">
<link rel="stylesheet" href="/docs/files/swagger-ui.css">
</head>
<body>
<script type="application/json" id="swagger-settings">
{"url": "/openapi.json", "layout": "BaseLayout", "deepLinking": true,
"defaultModelsExpandDepth": -1}
</script>
<div id="swagger-ui"></div>
<script src="/docs/files/swagger-ui-bundle.js"></script>
<script src="/docs/files/swagger-ui-init.js"></script>
</body>
</html>
"""
# Swagger UI draws its icons from data URLs.
_DOCS_POLICY = POLICY.replace(b"img-src 'self'", b"img-src 'self' data:")


def docs(path: str, headers: Mapping[bytes, bytes]) -> Response | None:
    """The document, its page or a file of it; None: the path is of something else.

    Raises Problem: 404.
    """
    if path == "/openapi.json":
        return file_response(document(), JSON, headers)
    if path == "/docs":
        return file_response(_PAGE, HTML, headers, _DOCS_POLICY)
    if not path.startswith("/docs/"):
        return None
    name = path.removeprefix("/docs/files/")
    if name not in _FILES:
        raise Problem(404, "there is no such page; see /docs")
    return file_response(_content(name), _FILES[name], headers, _DOCS_POLICY)


@cache
def _content(name: str) -> bytes:
    # Where it is installed, without an import of it: the door has no Django.
    spec = importlib.util.find_spec("ninja")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "static" / "ninja" / name).read_bytes()
