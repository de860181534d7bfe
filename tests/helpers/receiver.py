"""A shop's receiver of webhooks: a real HTTP server that checks signatures with their library."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + "c2VjcmV0LW9mLWEtc2hvcC1mb3ItdGVzdHM="
OTHER_SECRET = "whsec_" + "YW5vdGhlci1zZWNyZXQtb2Ytbm9ib2R5LWVsc2U="
# What it answers to an event: status, headers. It gets the event and how often it came.
Answer = Callable[[dict[str, Any], int], tuple[int, dict[str, str]]]


def taken(event: dict[str, Any], times: int) -> tuple[int, dict[str, str]]:
    """Always 204."""
    return 204, {}


class Receiver:
    """Listens from the start, on a port of its own, until `close`."""

    def __init__(self, answer: Answer = taken, secret: str = SECRET, port: int = 0) -> None:
        self.answer, self._webhook = answer, Webhook(secret)
        self._lock = threading.Lock()
        self.times: dict[str, int] = {}
        # All attempts in their order, and the events that it has taken.
        self.attempts: list[str] = []
        self.taken: list[dict[str, Any]] = []
        self.bodies: dict[str, set[bytes]] = {}
        self.paths: set[str] = set()
        self.wrong = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, headers = receiver.received(dict(self.headers), body, self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def received(
        self, headers: dict[str, str], body: bytes, path: str
    ) -> tuple[int, dict[str, str]]:
        """Check the signature, and answer as told."""
        try:
            event = self._webhook.verify(body, headers)
        except WebhookVerificationError:
            self.wrong += 1
            return 401, {}
        with self._lock:
            self.paths.add(path)
            name = event["id"]
            assert {k.lower(): v for k, v in headers.items()}["webhook-id"] == name
            self.attempts.append(name)
            self.bodies.setdefault(name, set()).add(body)
            self.times[name] = times = self.times.get(name, 0) + 1
        status, more = self.answer(event, times)
        if 200 <= status < 300:
            with self._lock:
                self.taken.append(json.loads(body))
        return status, more

    def ids(self) -> list[str]:
        """Of the events that it has taken, in their order."""
        with self._lock:
            return [event["id"] for event in self.taken]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
