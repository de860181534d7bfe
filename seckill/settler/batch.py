"""Batches of settlements: messages of one partition of the settle topic, decoded for the script."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from seckill.consumer.batch import NO_TRACES, NOTHING_KNOWN, Batch, Known
from seckill.dead_letters.letter import Invalid
from seckill.errors import Poison
from seckill.formats import settle
from seckill.formats.settle import Result
from seckill.lane.clicks import Place
from seckill.lane.holds import Settlement


@dataclass(slots=True, eq=False)
class Settlements(Batch):
    """As `Batch`, but packed by `seckill.lane.holds`. `told` has (offset, settlement) of each
    message, with None for one that is INVALID.
    """

    told: list[tuple[int, Settlement | None]] = field(default_factory=list)

    def mark_lost(self, is_lost: Callable[[Place], bool]) -> None:
        """Mark the settlements of holds whose requests Kafka has no longer."""
        self.told = [
            (offset, replace(told, lost=is_lost(told.hold)) if told is not None else None)
            for offset, told in self.told
        ]


def encode(
    source: str,
    partition: int,
    start: int,
    offsets: Sequence[int],
    values: Sequence[bytes | None],
    *,
    generation: int = 0,
    known: Mapping[int, Known] = NOTHING_KNOWN,
    traces: Mapping[int, str] = NO_TRACES,
) -> Settlements:
    """Make a batch of messages. Their offsets ascend, and the first is at `start` or later.

    Nothing is known of a settlement before the script has looked at it, so `known` is not used.
    """
    invalid = []
    told: list[tuple[int, Settlement | None]] = []
    for offset, value in zip(offsets, values, strict=True):
        try:
            told.append((offset, _settlement(value)))
        except Poison as poison:
            told.append((offset, None))
            invalid.append(Invalid(offset, value, str(poison)))
    return Settlements(
        source=source,
        partition=partition,
        start=start,
        end=offsets[-1] + 1,
        blob=b"",
        activities=[],
        requests=len(values),
        invalid=invalid,
        generation=generation,
        traces={at: traces[at] for at in offsets if at in traces} if traces else NO_TRACES,
        told=told,
    )


def _settlement(value: bytes | None) -> Settlement:
    message = settle.decode(value)
    return Settlement(
        activity_id=message.activity_id,
        user_id=message.user_id,
        hold=Place(*message.hold),
        paid=message.result is Result.PAID,
        reference=message.reference or None,
    )
