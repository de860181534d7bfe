"""Files that the door serves: their headers, and 304 where the browser has them."""

from collections.abc import Mapping
from hashlib import blake2b

from seckill.web.door.http import Response

HTML = b"text/html; charset=utf-8"
# A token may come in the fragment: nothing of the address goes anywhere.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def safe_headers(
    policy: bytes = POLICY, referrer: bytes = b"no-referrer"
) -> list[tuple[bytes, bytes]]:
    """What every page and file carries."""
    return [
        (b"content-security-policy", policy),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", referrer),
    ]


def file_response(
    content: bytes, kind: bytes, headers: Mapping[bytes, bytes], policy: bytes = POLICY
) -> Response:
    """A file, or 304. It is asked anew each time: page and script are always of one release."""
    etag = b'"%s"' % blake2b(content, digest_size=8).hexdigest().encode()
    same = etag in headers.get(b"if-none-match", b"")
    more = [*safe_headers(policy), (b"cache-control", b"no-cache"), (b"etag", etag)]
    return Response(304 if same else 200, b"" if same else content, kind, more)
