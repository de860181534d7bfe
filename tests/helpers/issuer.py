"""An OIDC issuer for client credentials, as far as a client sees it: a real HTTP server."""

import json
import threading
import time
from base64 import b64encode, urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

CLIENT, CLIENT_SECRET = "shop", "a secret: of the client"


def unsigned(subject: str, lasts_s: int = 3600) -> str:
    """A token that nobody signed, as Kafka's own check for tests takes it."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": subject, "iat": now, "exp": now + lasts_s})
    words = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*words, ""])


class Issuer:
    """Listens from the start until `close`; `asked` counts tokens."""

    def __init__(self, subject: str) -> None:
        self.asked = 0
        issuer = self
        wanted = "Basic " + b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                good = self.headers["authorization"] == wanted
                assert form["grant_type"] == ["client_credentials"]
                issuer.asked += good
                self.send_response(200 if good else 401)
                self.end_headers()
                token = {"access_token": unsigned(subject), "expires_in": 3600}
                self.wfile.write(json.dumps(token if good else {"error": "no"}).encode())

            def log_message(self, *_: object) -> None:
                """Nothing to read."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
