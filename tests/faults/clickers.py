"""Buyers who click over HTTP through several doors, and remember what they were told.

Owns the oracle of the door: the answers that clients got, against the rows. A click that is not
known to be taken is sent again with the same key, as a page does; a share of the clicks are twins,
sent through two doors at the same time.
"""

import http.client
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loadgen.http.answers import wrong_answers as wrong_of
from seckill.models import Record
from seckill.web.door.tickets import click_of
from tests.helpers.door import token_of

# Seconds for a client's own call, and until it gives a click up.
CALL_S, GIVE_UP_S = 40.0, 120.0
ACCEPTED, REFUSED = "accepted", "refused"


@dataclass(frozen=True)
class Click:
    """A buyer's click. A twin goes through two doors."""

    user: int
    key: str
    twin: bool

    @property
    def request_id(self) -> str:
        """As in Kafka and in the rows."""
        return click_of(self.user, self.key)


@dataclass(frozen=True)
class Answer:
    """A final answer, and when it was heard: seconds since 1970."""

    state: str
    at: float


@dataclass
class Heard:
    """What buyers were told: final answers by click. `statuses` counts all answers.

    `voids`: who was told that Kafka has lost the click.
    """

    answers: dict[Click, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    voids: list[Click] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lines_lost: int = 0
    gave_up: list[Click] = field(default_factory=list)


class Clickers:
    """Threads of buyers. `doors` are ports; they may change while they click. `clicks`: so many
    users click, or these. `twins`: the share of twins among them.

    `firm`: a yes is believed once it is stored, as a shop does whose Redis may lose what it said.
    """

    def __init__(
        self,
        doors: list[int],
        clicks: int | Sequence[int],
        rng: random.Random,
        item: int = 1002,
        twins: float = 0.2,
    ) -> None:
        self.doors, self.heard, self._item = doors, Heard(), item
        self.firm = False
        self._lock, self._called_off = threading.Lock(), threading.Event()
        users = range(1, clicks + 1) if isinstance(clicks, int) else clicks
        self._todo = [Click(user, f"key-{user:08d}", rng.random() < twins) for user in users]
        rng.shuffle(self._todo)
        self.total = len(self._todo)
        self._threads = [threading.Thread(target=self._buy, args=(n,)) for n in range(24)]

    @property
    def left(self) -> int:
        """Clicks that nobody has begun."""
        return len(self._todo)

    def __enter__(self) -> "Clickers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is not None:
            # Else the failure is shown, and the process ends, only when all have clicked.
            self._called_off.set()
        for thread in self._threads:
            thread.join(GIVE_UP_S * 4)
            assert not thread.is_alive()

    def _buy(self, number: int) -> None:
        while True:
            with self._lock:
                if not self._todo or self._called_off.is_set():
                    return
                click = self._todo.pop()
            if click.twin:
                other = threading.Thread(target=self._until_told, args=(click, number + 1))
                other.start()
                self._until_told(click, number)
                other.join()
            else:
                self._until_told(click, number)

    def _until_told(self, click: Click, door: int) -> None:
        """Click, and ask, until there is a final answer."""
        deadline = time.monotonic() + GIVE_UP_S
        ticket = ""
        while time.monotonic() < deadline and not self._called_off.is_set():
            port = self.doors[door % len(self.doors)]
            door += 1
            try:
                status, content = self._ticket(port, ticket) if ticket else self._post(port, click)
            except (OSError, http.client.HTTPException):
                self.heard.lines_lost += 1
                time.sleep(0.05)
                continue
            with self._lock:
                self.heard.statuses[status] += 1
            state = content.get("state", "")
            ticket = content.get("ticket", ticket)
            if state == REFUSED or (state == ACCEPTED and (content.get("stored") or not self.firm)):
                with self._lock:
                    self.heard.answers[click].append(Answer(state, time.time()))
                return
            if state == "void" or status == 410:
                # Kafka has lost it: the same click once more.
                ticket = ""
                if state == "void":
                    self.heard.voids.append(click)
            if state == ACCEPTED or status in (410, 429, 503):
                time.sleep(0.2)
        with self._lock:
            self.heard.gave_up.append(click)

    def _post(self, port: int, click: Click) -> tuple[int, dict[str, str]]:
        body = json.dumps({"activity_id": 1, "items": {str(self._item): 1}})
        headers = {
            "Authorization": f"Bearer {token_of(click.user)}",
            "Idempotency-Key": click.key,
            "Content-Type": "application/json",
            "Prefer": "wait=10",
        }
        return _call(port, "POST", "/v1/requests", body, headers)

    def _ticket(self, port: int, ticket: str) -> tuple[int, dict[str, str]]:
        return _call(port, "GET", f"/v1/tickets/{ticket}", None, {"Prefer": "wait=10"})


def _call(
    port: int, method: str, path: str, body: str | None, headers: dict[str, str]
) -> tuple[int, dict[str, str]]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_S)
    try:
        line.request(method, path, body, headers)
        answer = line.getresponse()
        text = answer.read()
    finally:
        line.close()
    return answer.status, json.loads(text) if text else {}


def rows_of(item: int = 1002) -> Counter[tuple[int, str]]:
    """{(user, request id): rows} of an item. Call once everything is stored."""
    return Counter(Record.objects.filter(item_id=item).values_list("user_id", "request_id"))


def wrong_answers(
    answers: Mapping[Click, Sequence[Answer]],
    rows: Mapping[tuple[int, str], int],
    lost_at: float = 0.0,
) -> list[str]:
    """What buyers were told against the rows.

    `lost_at` is when Redis had lost what it had decided. What was not stored by then is decided
    again: a no that was told before may have become a yes. Nothing else may.
    """
    told = (
        (click.user, click.request_id, answer.state)
        for click, heard in answers.items()
        for answer in heard
        if answer.state == ACCEPTED or answer.at > lost_at
    )
    return wrong_of(told, rows)
