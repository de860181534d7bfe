"""A dead letter on its way to Kafka: its content and its state."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Invalid:
    """A message that is not a request, to be parked with its reason."""

    offset: int
    value: bytes | None
    reason: str


class Decided(Protocol):
    """A decided batch of one partition, as far as dead letters need it."""

    @property
    def source(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def invalid(self) -> Sequence[Invalid]: ...


@dataclass(slots=True)
class Letter:
    """One dead letter. `answer` is called on any thread, when Kafka answers."""

    value: bytes | None
    headers: list[tuple[str, bytes]]
    # A producer has it, and its result is not known yet.
    sent: bool = False
    # Kafka has refused it.
    refused: bool = False
    # Kafka has acknowledged it, or it was given up.
    over: bool = False
    # Why it still waits, and when that began.
    why: str = ""
    failed_at: float = 0.0

    @property
    def size(self) -> int:
        """Approximate bytes in memory."""
        return len(self.value or b"") + 200

    def answer(self, why: str) -> None:
        """The result: "" if Kafka has it, else why not."""
        self.sent, self.refused = False, bool(why)
        if why:
            self.fail(why)
        else:
            self.over = True

    def fail(self, why: str) -> None:
        """Record that it has to wait, and why."""
        self.failed_at = self.failed_at or time.monotonic()
        self.why = why

    def cut(self) -> bool:
        """Drop the body and keep its size as a header. False if there is none."""
        if not self.value:
            return False
        if self.headers[-1][0] != "size":
            self.headers.append(("size", b"%d" % len(self.value)))
        self.value = b""
        return True

    def __str__(self) -> str:
        told = {name: value.decode(errors="replace") for name, value in self.headers}
        return f"{told['source']}:{told['partition']}:{told['offset']} ({told['reason']!a})"


def failed(letters: Sequence[Letter], why: str) -> str:
    """Mark those without an answer as waiting. Returns `why`."""
    for letter in letters:
        if not (letter.over or letter.refused):
            letter.fail(why)
    return why


def kind(why: str) -> str:
    """A reason without its numbers, the same for letters of any size and place."""
    return re.sub(r"\d+", "", why)
