"""A dead letter on its way: what it carries, and how it stands with Kafka."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Letter:
    """One of them. `answer` is called on whatever thread hears from Kafka."""

    value: bytes | None
    headers: list[tuple[str, bytes]]
    # A producer has it and has not said what became of it.
    sent: bool = False
    # Kafka has said no.
    refused: bool = False
    # Kafka has acknowledged it, or it was given up.
    over: bool = False
    # Why it still waits, and when that was so first.
    why: str = ""
    failed_at: float = 0.0

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return len(self.value or b"") + 200

    def answer(self, why: str) -> None:
        """What became of it: empty where Kafka has it."""
        self.sent, self.refused = False, bool(why)
        if why:
            self.fail(why)
        else:
            self.over = True

    def fail(self, why: str) -> None:
        """It has to wait."""
        self.failed_at = self.failed_at or time.monotonic()
        self.why = why

    def cut(self) -> bool:
        """Leave the body out. False where there is none."""
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
    """Those without an answer have to wait. Why."""
    for letter in letters:
        if not (letter.over or letter.refused):
            letter.fail(why)
    return why


def kind(why: str) -> str:
    """A reason without its numbers: the same for letters of any size and place."""
    return re.sub(r"\d+", "", why)
