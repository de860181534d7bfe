"""Where the sale of an activity stands, for all who tell it: desk, verdict, waits, the door."""

from enum import StrEnum


class Phase(StrEnum):
    """Where it stands. Only acts of operators bring it out of CLOSED, SOLD_OUT and FINISHED."""

    SOON = "soon"
    OPEN = "open"
    PAUSED = "paused"
    CLOSED = "closed"
    SOLD_OUT = "sold_out"
    FINISHED = "finished"


def phase_of(
    over: str | None,
    paused: bool,
    opens_at_ms: int | None,
    closes_at_ms: int | None,
    now_ms: int,
) -> Phase:
    """The phase at `now_ms`. The window may be without limits (None).

    Of several that are true the one comes first that keeps it from selling for longest: to resume
    an activity after its window sells nothing.
    """
    if over:
        return Phase.SOLD_OUT if over == Phase.SOLD_OUT else Phase.FINISHED
    if closes_at_ms is not None and now_ms >= closes_at_ms:
        return Phase.CLOSED
    if paused:
        return Phase.PAUSED
    if opens_at_ms is not None and now_ms < opens_at_ms:
        return Phase.SOON
    return Phase.OPEN
