"""A running buyers' door, and a buyer: clicks over HTTP, and what is answered."""

import http.client
import json
import re
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
import redis

from seckill.config.sections import Server
from seckill.lane.keys import BOARD_STRING, Lane
from seckill.web.door.tickets import Ticket, Tickets
from tests.helpers import blocks
from tests.helpers.commands import Ended

SECRET = "a secret of the tests: 32 characters"
KEYS = f"test:{SECRET}"
TICKET_SECRET = "a secret of the tickets"


def token_of(user: int, **claims: Any) -> str:
    """A buyer's token."""
    content = {"sub": str(user), "exp": int(time.time()) + 3600, **claims}
    return jwt.encode(content, SECRET, algorithm="HS256", headers={"kid": "test"})


@dataclass
class Told:
    """An answer of the door."""

    status: int
    headers: dict[str, str]
    content: dict[str, Any] = field(default_factory=dict)
    # A page's HTML.
    text: str = ""


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: dict[str, str] | None = None,
) -> Told:
    """One call of a door on a connection of its own."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        line.request(method, path, body, headers or {})
        answer = line.getresponse()
        text = answer.read()
    finally:
        line.close()
    names = {name.lower(): value for name, value in answer.getheaders()}
    has_json = text and "json" in names["content-type"]
    content = json.loads(text) if has_json else {}
    return Told(answer.status, names, content, "" if has_json else text.decode())


class RunningDoor:
    """`manage.py run_door` as a process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            self.said.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/v1/requests", line)
            if found:
                self.port = int(found[1])
                return
        raise AssertionError("".join(self.said))

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Told:
        """One call on a connection of its own."""
        return ask(self.port, method, path, body, headers)

    def click(
        self,
        user: int = 1,
        items: dict[int, int] | None = None,
        *,
        key: str | None = None,
        activity: int = 1,
        wait: int = 0,
        **headers: str,
    ) -> Told:
        """A click as a page sends it."""
        order = {
            "activity_id": activity,
            "items": {str(i): n for i, n in (items or {1001: 1}).items()},
        }
        sent = {
            "Authorization": f"Bearer {token_of(user)}",
            "Idempotency-Key": key or uuid.uuid4().hex,
            "Content-Type": "application/json",
            **({"Prefer": f"wait={wait}"} if wait else {}),
            **headers,
        }
        return self.ask("POST", "/v1/requests", json.dumps(order), sent)

    def answer(self, ticket: str, wait: int = 0) -> Told:
        """What became of a click."""
        return self.ask(
            "GET", f"/v1/tickets/{ticket}", None, {"Prefer": f"wait={wait}"} if wait else {}
        )

    def stop(self) -> Ended:
        """Ask for the end, and await it."""
        self.process.terminate()
        return Ended(self.process)


def read_ticket(text: str) -> Ticket:
    """A ticket of the tests' doors."""
    return Tickets({1: TICKET_SECRET.encode()}).read(text)


def settle_by_hand(client: "redis.Redis", source: str, text: str, byte: str) -> None:
    """What the settler's scripts do to the hold of a ticket, as the door sees it."""
    ticket, lane = read_ticket(text), Lane()
    number, at = divmod(ticket.offset, BOARD_STRING)
    place = f"{source}:{ticket.partition}:{ticket.offset}"
    # The byte first: whoever sees a hold no more finds out what became of it.
    client.setrange(lane.board(source, ticket.partition, number), at, byte)
    blocks.remove(client, place, activity=ticket.activity_id)


def open_door(
    manage: Callable[..., "subprocess.Popen[str]"], server: Server, *flags: str, **variables: str
) -> RunningDoor:
    """Start a door on this topic."""
    settings = {
        "SECKILL_BUYER_KEYS": KEYS,
        "SECKILL_TICKET_SECRET": f"1:{TICKET_SECRET}",
        "SECKILL_TOPIC": server.topic,
        "SECKILL_BROKERS": server.brokers,
        **variables,
    }
    return RunningDoor(manage("run_door", "--port", "0", *flags, **settings))


OpenDoor = Callable[..., RunningDoor]
