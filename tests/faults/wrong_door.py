"""Doors that are wrong on purpose: `python -m tests.faults.wrong_door NAME run_door ...`.

Each lacks one thing that its answers stand on, and is the product's own command but for that.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence

import manage
from seckill.broker.outbox import Done
from seckill.broker.outbox_confluent import ConfluentOutbox
from seckill.lane.clicks import Place
from seckill.web.door.mirror import Mirror


def no_look_up() -> None:
    """Tells what is on the board, and never looks for a click that was accepted elsewhere."""

    async def look_up(_mirror: Mirror, asked: Sequence[tuple[int, str]]) -> list[Place | None]:
        return [None] * len(asked)

    Mirror._look_up = look_up  # type: ignore[method-assign]


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
    ) -> bool:
        if not send(outbox, value, partition, lambda _offset, _error: None, headers):
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
