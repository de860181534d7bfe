"""A shop that makes a guest of each visitor, so that one can click along. Only in the demo.

A real shop knows its buyers and signs their tokens itself. This one signs for whoever comes, so it
listens on loopback and lives in `demo/`, which no production process imports.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from seckill.web.door.token_maker import TokenMaker

# Seconds that a guest's token is good for.
GUEST_S = 3600
# Guests have ids above those of the load's buyers.
FIRST_GUEST, GUESTS = 1_000_000_000, 1_000_000_000


@contextmanager
def shop(port: int, door: str, tokens: TokenMaker, activity_id: int) -> Iterator[None]:
    """Serve on a port of loopback while the block runs. `door` is the door's address."""

    class _Visit(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Make a guest, and send him to the buyers' page."""
            if self.path != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            guest = FIRST_GUEST + secrets.randbelow(GUESTS)
            token = tokens.make(guest, int(time.time()) + GUEST_S)
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header("Location", f"{door}/buy/{activity_id}#token={token}")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Length", "0")
            self.end_headers()

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
