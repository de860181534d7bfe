"""The buyers' page `GET /buy/{id}` and its files. Owns their headers; the files are in `files/`.

The page is the same for every activity: its script reads the activity from the API.
"""

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from seckill.web.door import asking
from seckill.web.door.http import Problem, Response

FILES = Path(__file__).parent / "files"
_KINDS = {
    "buy.js": b"text/javascript; charset=utf-8",
    "texts.js": b"text/javascript; charset=utf-8",
    "buy.css": b"text/css; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}
_CONTENTS = {name: (FILES / name).read_bytes() for name in _KINDS}
_HTML = (FILES / "buy.html").read_bytes()
# The token may come in the fragment: nothing of the address goes anywhere.
_SAFE = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # Asked anew each time, and answered 304: page and script are always of one release.
    (b"cache-control", b"no-cache"),
]


def page(method: str, rest: str, headers: Mapping[bytes, bytes]) -> Response:
    """The page or a file of it. `rest` is the path below `/buy/`. Raises Problem: 404, 405."""
    if method not in ("GET", "HEAD"):
        raise Problem(405, "use GET or HEAD here")
    folder, _, name = rest.partition("/")
    if folder == "files" and name in _KINDS:
        return _file(_CONTENTS[name], _KINDS[name], headers)
    if name or not asking.number_of(rest):
        raise Problem(404, "there is no such page; the address is /buy/ and an activity's number")
    return _file(_HTML, b"text/html; charset=utf-8", headers)


def _file(content: bytes, kind: bytes, headers: Mapping[bytes, bytes]) -> Response:
    etag = b'"%s"' % blake2b(content, digest_size=8).hexdigest().encode()
    known = headers.get(b"if-none-match", b"")
    same = etag in known
    return Response(304 if same else 200, b"" if same else content, kind, [*_SAFE, (b"etag", etag)])
