"""The buyers' page `GET /buy/{id}` and its files. The files are in `files/`.

The page is the same for every buyer: its script reads the activity from the API.
"""

from collections.abc import Mapping
from html import escape
from urllib.parse import urlsplit

from seckill.config.sections import Door as Section
from seckill.web.door import asking
from seckill.web.door.files import HTML, POLICY, file_response
from seckill.web.door.http import Problem, Response, only
from seckill.web.door.page.words import CHINESE, ENGLISH, FILES, SCRIPT

_KINDS = {
    "buy.js": b"text/javascript; charset=utf-8",
    "buy.css": b"text/css; charset=utf-8",
    "icon.svg": b"image/svg+xml",
}
_CONTENTS = {name: (FILES / name).read_bytes() for name in _KINDS} | {"texts.js": SCRIPT}
_KINDS["texts.js"] = _KINDS["buy.js"]
# Where the form is: at once for a browser without scripts, as a link where the script fails.
_AT_ONCE = '<noscript><meta http-equiv="refresh" content="0; url=/buy/{id}/form"></noscript>'
_LATER = '<p id="plain" class="late"><a href="/buy/{id}/form">{words}</a></p>'


class Page:
    """The page as a shop has set it up."""

    def __init__(self, section: Section) -> None:
        both = (ENGLISH, CHINESE)
        if section.buyer_cookie:
            head, body = _AT_ONCE, _LATER.replace("{words}", " · ".join(w["plain"] for w in both))
        else:
            needs = " ".join(w.told("needsScript")[0] for w in both)
            head, body = "", f'<noscript><p class="note">{needs}</p></noscript>'
        shop = "".join(
            f' data-{name}="{escape(value)}"'
            for name, value in (("exchange", section.token_exchange), ("login", section.login_url))
            if value
        )
        html = (FILES / "buy.html").read_text("utf-8")
        for mark, part in (("{shop}", shop), ("{head}", head), ("{body}", body)):
            html = html.replace(mark, part)
        self._html = html.encode()
        other = urlsplit(section.token_exchange or "")
        host = f" {other.scheme}://{other.netloc}" if other.netloc else ""
        self._policy = POLICY.replace(b"connect-src 'self'", b"connect-src 'self'" + host.encode())

    def serve(self, method: str, rest: str, headers: Mapping[bytes, bytes]) -> Response:
        """The page or a file of it. `rest` is the path below `/buy/`. Raises Problem: 404, 405."""
        only(method, "GET", "HEAD")
        folder, _, name = rest.partition("/")
        if folder == "files" and name in _KINDS:
            return file_response(_CONTENTS[name], _KINDS[name], headers)
        if name or not asking.number_of(rest):
            raise Problem(404, "the address of a page is /buy/ and an activity's number")
        return file_response(
            self._html.replace(b"{id}", rest.encode()), HTML, headers, self._policy
        )
