"""Buyers of held units: each asks, then pays near the end of the hold, gives back, or goes away.

Owns the oracle of holds: what Kafka acknowledged and when, against the rows.
"""

import heapq
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import Producer

from seckill.formats import settle
from seckill.formats.settle import Result, Settlement, settle_topic
from seckill.models import LatePayment, Record
from seckill.models import Settlement as Settled
from tests.faults.buyers import ANSWER_S
from tests.faults.harness import Sale
from tests.helpers.sale import body, now_ms

# Shares of buyers who pay and who give back. The others go away.
PAY, GIVE_BACK = 0.75, 0.1
# Seconds before and after the expected end of a hold at which its buyer pays.
EARLY_S, LATE_S = 4.0, 1.5
# How many wrong buyers are named.
NAMED = 5
Place = tuple[str, int, int]


@dataclass
class Told:
    """What a buyer told. `at_ms`: the clock after Kafka's acknowledgement; 0: there is none.

    Redis runs on this machine, so its clock is the same.
    """

    result: Result
    at_ms: int = 0


@dataclass
class Payers:
    """So many buyers, so many a second, inside a `with`. `left` have not told anything yet."""

    sale: Sale
    rng: random.Random
    total: int
    rate: float
    hold_s: int

    told: dict[int, Told] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    _asked: int = 0
    # Who went away, and where the request is.
    _gone: dict[int, Place] = field(default_factory=dict)
    # (when, user, place, result) of what is still to be told.
    _later: list[tuple[float, int, Place, Result]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._topic = settle_topic(self.sale.server.topic)
        self._producer = Producer(
            {
                "bootstrap.servers": self.sale.server.brokers,
                "enable.idempotence": True,
                "linger.ms": 2,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Payers":
        self._thread.start()
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            self._thread.join()
            self.flush()
        else:
            self.close()

    def flush(self) -> None:
        """Wait until Kafka has acknowledged all."""
        assert not self._producer.flush(2 * ANSWER_S)
        assert not self.refused, self.refused[0]

    def close(self) -> None:
        """Close the producer."""
        self._producer.purge()
        self._producer.close()

    def come_back(self, number: int) -> None:
        """The first who went away pay all the same: after their holds have ended, too late."""
        for user, place in sorted(self._gone.items())[:number]:
            self._tell(user, place, Result.PAID)
        self.flush()

    @property
    def left(self) -> int:
        """Buyers who have not told anything yet, nor gone away."""
        return self.total - len(self.told) - len(self._gone)

    def _run(self) -> None:
        began = time.monotonic()
        while self.left and not self.refused:
            due = min(self.total, int((time.monotonic() - began) * self.rate))
            while self._asked < due:
                self._asked += 1
                self._ask(self._asked)
            while self._later and self._later[0][0] <= time.monotonic():
                _, user, place, result = heapq.heappop(self._later)
                self._tell(user, place, result)
            self._producer.poll(0.005)

    def _ask(self, user: int) -> None:
        items = {1001: 1, 1002: 1} if user % 5 == 0 else {1001: 1}
        self._producer.produce(
            self.sale.server.topic, body(user, items), on_delivery=partial(self._has_asked, user)
        )

    def _has_asked(self, user: int, error: object, message: Any) -> None:
        """Kafka has the request, so it will be decided: choose what its buyer tells, and when."""
        if error is not None:
            self.refused.append(str(error))
            return
        place = (self.sale.source, message.partition(), message.offset())
        chosen, wait_s = self.rng.random(), self.hold_s + self.rng.uniform(-EARLY_S, LATE_S)
        if chosen < PAY:
            heapq.heappush(self._later, (time.monotonic() + wait_s, user, place, Result.PAID))
        elif chosen < PAY + GIVE_BACK:
            result = self.rng.choice((Result.FAILED, Result.CANCELLED))
            wait_s = self.rng.uniform(0, self.hold_s / 2)
            heapq.heappush(self._later, (time.monotonic() + wait_s, user, place, result))
        else:
            self._gone[user] = place

    def _tell(self, user: int, place: Place, result: Result) -> None:
        told = Told(result)

        def has_told(error: object, _: object) -> None:
            if error is not None:
                self.refused.append(str(error))
            told.at_ms = now_ms()

        message = Settlement(1, user, place, result, now_ms(), f"pi_{user}")
        self._producer.produce(
            self._topic, settle.encode(message), settle.key_of(user), on_delivery=has_told
        )
        self.told[user] = told

    def wrong(self) -> list[str]:
        """What the rows say that must not be; [] if each hold ended as it had to."""
        found = []
        ends = ends_of()
        due = {
            user: round(at.timestamp() * 1000)
            for user, at in Record.objects.values_list("user_id", "due")
            if at is not None
        }
        late = set(LatePayment.objects.values_list("user_id", flat=True))
        for user in ends.keys() - due.keys():
            found.append(f"user {user} has no order, and a hold that ended")
        for user, until in due.items():
            end = ends[user]
            told = self.told.get(user)
            if len(end) != 1:
                found.append(f"user {user}: the hold ended as {sorted(end) or 'nothing'}")
            elif told is None or told.at_ms >= until:
                allowed = {Settled.Kind.EXPIRED} | ({_end(told)} if told else set())
                if not end <= allowed:
                    found.append(f"user {user}: {end}, and only {allowed} may be")
                if told and told.result is Result.PAID and (user in late) != ("expired" in end):
                    found.append(f"user {user}: paid late, {end}, and refunds say {user in late}")
            elif end != {_end(told)}:
                found.append(f"user {user}: told {told.result} {until - told.at_ms} ms before the "
                             f"end, and it ended as {end}")  # fmt: skip
        return found[:NAMED]

    def counts(self) -> Counter[str]:
        """Buyers by how their hold ended."""
        return Counter(kind for end in ends_of().values() for kind in end)


def _end(told: Told) -> str:
    return Settled.Kind.PAID if told.result is Result.PAID else Settled.Kind.CANCELLED


def ends_of() -> dict[int, set[str]]:
    """{user: how the hold of each item ended}, from the rows."""
    ends: dict[int, set[str]] = defaultdict(set)
    for user, kind in Settled.objects.values_list("user_id", "kind"):
        ends[user].add(kind)
    return ends
