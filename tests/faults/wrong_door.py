"""Doors that are wrong on purpose: `python -m tests.faults.wrong_door NAME run_door ...`.

Each lacks one thing that its answers stand on, and is the product's own command but for that.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import manage
from seckill.broker.outbox import Done
from seckill.broker.outbox_confluent import ConfluentOutbox
from seckill.web.door import answering
from seckill.web.door.look import Decided


def no_look_up() -> None:
    """Tells what is on the board, and never looks for a click that was accepted elsewhere."""

    read = answering.read_decided

    async def without_clicks(*asked: Any) -> Decided:
        found = await read(*asked)
        return replace(found, places=[None] * len(found.places))

    answering.read_decided = without_clicks


def ticket_at_once() -> None:
    """Gives a ticket for the offset that it expects, and waits for no acknowledgement."""
    send = ConfluentOutbox.send
    sent: Counter[int] = Counter()

    def at_once(
        outbox: ConfluentOutbox,
        value: bytes,
        partition: int,
        done: Done,
        headers: Sequence[tuple[str, bytes]] = (),
        key: bytes | None = None,
    ) -> bool:
        if not send(outbox, value, partition, lambda _offset, _error: None, headers, key):
            return False
        done(sent[partition], "")
        sent[partition] += 1
        return True

    ConfluentOutbox.send = at_once  # type: ignore[method-assign]


WRONG: dict[str, Callable[[], None]] = {
    "no look-up": no_look_up,
    "a ticket at once": ticket_at_once,
}


if __name__ == "__main__":
    name = sys.argv.pop(1)
    WRONG[name]()
    manage.main()
