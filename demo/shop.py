"""A shop that makes a guest of each visitor, so that one can click along. Only in the demo.

A real shop knows its buyers and signs their tokens itself. This one signs for whoever comes, so it
listens on loopback and lives in `demo/`, which no production process imports. A guest's session is
a cookie with his token, so that he can buy without JavaScript, and come back to the page. Its
payment page is in `till`.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from demo.till import Till, is_ticket
from seckill.web.door.http import to_json
from seckill.web.door.token_maker import TokenMaker

# Seconds that a guest's token is good for.
GUEST_S = 3600
# Guests have ids above those of the load's buyers.
FIRST_GUEST, GUESTS = 1_000_000_000, 1_000_000_000
# Bytes of a form.
MAX_FORM = 1024
COOKIE = "demo_buyer"


def door_flags(port: int) -> tuple[str, ...]:
    """What a door is told of the shop on this port."""
    here = f"http://127.0.0.1:{port}"
    return (
        *("--buyer-cookie", COOKIE, "--token-exchange", f"{here}/session"),
        *("--login-url", f"{here}/?back={{back}}"),
    )


@contextmanager
def shop(port: int, tokens: TokenMaker, activity_id: int, till: Till) -> Iterator[None]:
    """Serve on a port of loopback while the block runs. `till` knows the door's address."""
    sale = f"{till.door}/buy/{activity_id}"

    class _Visit(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """`/` makes a guest and sends him to the buyers' page; `/session` gives him his
            token; `/pay` is where a hold is paid.
            """
            address = urlsplit(self.path)
            ticket = _one(address.query, "ticket")
            if address.path == "/":
                self._welcome(_one(address.query, "back"))
            elif address.path == "/session":
                self._session()
            elif address.path == "/pay" and is_ticket(ticket):
                self._show(till.page(ticket, sale, chinese=self._chinese()))
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def _welcome(self, back: str) -> None:
            guest = FIRST_GUEST + secrets.randbelow(GUESTS)
            token = tokens.make(guest, int(time.time()) + GUEST_S)
            # Whoever comes back asks for the token; and nobody is sent to a stranger's page.
            if not back.startswith(f"{till.door}/buy/"):
                back = f"{sale}#token={token}"
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header("Location", back)
            kept = f"{COOKIE}={token}; Path=/; Max-Age={GUEST_S}; HttpOnly; SameSite=Lax"
            self.send_header("Set-Cookie", kept)
            self._end(b"")

        def _session(self) -> None:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
            self.send_response(HTTPStatus.OK if found else HTTPStatus.UNAUTHORIZED)
            # To the door's page alone.
            self.send_header("Access-Control-Allow-Origin", till.door)
            self.send_header("Access-Control-Allow-Credentials", "true")
            self.send_header("Content-Type", "application/json")
            self._end(to_json({"token": found.value} if found else {}))

        def _end(self, body: bytes) -> None:
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            """The buttons of the payment page."""
            length = self.headers.get("Content-Length", "")
            size = int(length) if length.isdigit() else MAX_FORM + 1
            form = self.rfile.read(size).decode("latin-1") if size <= MAX_FORM else ""
            ticket, result = _one(form, "ticket"), _one(form, "result")
            if self.path != "/pay" or not is_ticket(ticket) or result not in ("paid", "failed"):
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self._show(till.settle(ticket, result, sale, chinese=self._chinese()))

        def _chinese(self) -> bool:
            return self.headers.get("Accept-Language", "").lower().startswith("zh")

        def _show(self, page: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Referrer-Policy", "no-referrer")
            self._end(page.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the terminal shows the sale."""

    with ThreadingHTTPServer(("127.0.0.1", port), _Visit) as server:
        thread = threading.Thread(target=server.serve_forever, name="shop", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _one(text: str, name: str) -> str:
    return parse_qs(text).get(name, [""])[0]
