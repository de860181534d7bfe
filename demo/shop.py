"""A shop that makes a guest of each visitor, so that one can click along. Only in the demo.

A real shop knows its buyers and signs their tokens itself. This one signs for whoever comes, so it
listens on loopback and lives in `demo/`, which no production process imports. Its payment page is
in `till`.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from demo.till import Till, is_ticket
from seckill.web.door.token_maker import TokenMaker

# Seconds that a guest's token is good for.
GUEST_S = 3600
# Guests have ids above those of the load's buyers.
FIRST_GUEST, GUESTS = 1_000_000_000, 1_000_000_000
# Bytes of a form.
MAX_FORM = 1024


@contextmanager
def shop(port: int, tokens: TokenMaker, activity_id: int, till: Till) -> Iterator[None]:
    """Serve on a port of loopback while the block runs. `till` knows the door's address."""
    sale = f"{till.door}/buy/{activity_id}"

    class _Visit(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Make a guest and send him to the buyers' page; or show where a hold is paid."""
            address = urlsplit(self.path)
            if address.path == "/pay":
                ticket = _one(address.query, "ticket")
                if not is_ticket(ticket):
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                self._show(till.page(ticket, sale, chinese=self._chinese()))
                return
            if self.path != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            guest = FIRST_GUEST + secrets.randbelow(GUESTS)
            token = tokens.make(guest, int(time.time()) + GUEST_S)
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header("Location", f"{sale}#token={token}")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Length", "0")
            self.end_headers()

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
            content = page.encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

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
