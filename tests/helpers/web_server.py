"""A web process of one's own, for clients that come over a socket."""

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

from devstack.endpoints import HOST
from seckill.web.shared.accounts import make_api_key
from tests.conftest import wait_until
from tests.helpers.servers import free_port


@dataclass(frozen=True)
class Served:
    """Its address, and a key that may steer."""

    url: str
    key: str

    def document(self, folder: Path) -> Path:
        """The file of its OpenAPI document, as generators take it."""
        file = folder / "openapi.json"
        with urllib.request.urlopen(f"{self.url}/openapi.json", timeout=60) as answer:
            file.write_text(json.dumps(json.load(answer)))
        return file


def serve(manage: Callable[..., Any]) -> Served:
    """Start `run_control_api` on a free port and wait until it answers."""
    port = free_port()
    manage("run_control_api", "--port", str(port), "--rate-limit", "0")
    url = f"http://{HOST}:{port}"
    wait_until(lambda: _answers(url), 60, "the web process answers")
    return Served(url, make_api_key("client", can_steer=True))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
