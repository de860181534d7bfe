"""The buyers' page `GET /buy/{id}` and its files. The files are in `files/`.

The page is the same for every activity: its script reads the activity from the API.
"""

from collections.abc import Mapping
from pathlib import Path

from seckill.web.door import asking
from seckill.web.door.files import HTML, file_response
from seckill.web.door.http import Problem, Response, only

FILES = Path(__file__).parent / "files"
_KINDS = {
    "buy.js": b"text/javascript; charset=utf-8",
    "texts.js": b"text/javascript; charset=utf-8",
    "buy.css": b"text/css; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}
_CONTENTS = {name: (FILES / name).read_bytes() for name in _KINDS}
_HTML = (FILES / "buy.html").read_bytes()


def page(method: str, rest: str, headers: Mapping[bytes, bytes]) -> Response:
    """The page or a file of it. `rest` is the path below `/buy/`. Raises Problem: 404, 405."""
    only(method, "GET", "HEAD")
    folder, _, name = rest.partition("/")
    if folder == "files" and name in _KINDS:
        return file_response(_CONTENTS[name], _KINDS[name], headers)
    if name or not asking.number_of(rest):
        raise Problem(404, "there is no such page; the address is /buy/ and an activity's number")
    return file_response(_HTML, HTML, headers)
