"""An activity as everybody may see it: state, window, and whether there is much left of an item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from seckill.formats.parts import part_in
from seckill.lane.phase import Phase, phase_of

# Buyers need not know why it is over. Nothing but an act brings it back.
OVER = (Phase.CLOSED, Phase.FINISHED)
# The phase of a split sale is the first of these that one of its parts is in.
WHOLE = (Phase.OPEN, Phase.SOON, Phase.PAUSED, Phase.CLOSED, Phase.FINISHED, Phase.SOLD_OUT)
# Below this share of what was put on sale, few are left.
FEW = 0.1


class Left(StrEnum):
    """How much is left of an item. The exact number is the shop's business."""

    MANY = "many"
    FEW = "few"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Showcase:
    """One activity at one moment. `version` and `epoch` move whenever units come back.

    `units` are {item: (left, ever put on sale)}; `part` is its number of so many `parts` of a sale.
    """

    activity_id: int
    phase: Phase
    opens_at_ms: int | None
    closes_at_ms: int | None
    now_ms: int
    version: int
    epoch: int
    items: Mapping[int, Left]
    units: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    part: int = 0
    parts: int = 1

    @property
    def sells_nothing(self) -> bool:
        """Whether every request is certain to be refused until an act, or a return of units."""
        return self.phase in (Phase.SOLD_OUT, *OVER)


def state_of(phase: Phase) -> str:
    """A phase as buyers hear it."""
    return "over" if phase in OVER else str(phase)


def showcase_of(
    activity_id: int,
    now_ms: int,
    state: Mapping[bytes, bytes],
    stock: Mapping[bytes, bytes],
    loaded: Mapping[bytes, bytes],
) -> Showcase:
    """From the hashes of an activity: see docs/formats.md."""
    opens_at, closes_at = _number(state, b"opens_at"), _number(state, b"closes_at")
    over = state.get(b"over", b"").decode()
    phase = phase_of(over, b"paused" in state, opens_at, closes_at, now_ms)
    units = {
        int(item): (int(left), int(loaded.get(item, left)))
        for item, left in sorted(stock.items(), key=lambda pair: int(pair[0]))
    }
    return Showcase(
        activity_id,
        phase,
        opens_at,
        closes_at,
        now_ms,
        _number(state, b"version") or 0,
        _number(state, b"epoch") or 0,
        {item: _left(*both) for item, both in units.items()},
        units,
        *part_in(state.get(b"part", b"").decode()),
    )


def whole_of(activity_id: int, parts: Sequence[Showcase]) -> Showcase:
    """A split sale as buyers see it, from what is known of its parts: at least one.

    It sells as long as one of them does, and its version moves with that of each.
    """
    units: dict[int, tuple[int, int]] = {}
    for item, (left, loaded) in (pair for part in parts for pair in part.units.items()):
        before = units.get(item, (0, 0))
        units[item] = before[0] + left, before[1] + loaded
    return replace(
        min(parts, key=lambda part: WHOLE.index(part.phase)),
        activity_id=activity_id,
        version=sum(part.version for part in parts),
        epoch=sum(part.epoch for part in parts),
        items={item: _left(*both) for item, both in sorted(units.items())},
        units=units,
    )


def _left(units: int, loaded: int) -> Left:
    if units <= 0:
        return Left.GONE
    return Left.FEW if units < loaded * FEW else Left.MANY


def _number(state: Mapping[bytes, bytes], name: bytes) -> int | None:
    return int(state[name]) if state.get(name) else None


def shown_showcase(seen: Showcase, name: str, items: Mapping[int, str]) -> dict[str, Any]:
    """An activity in JSON, with its names."""
    return {
        "id": seen.activity_id,
        "name": name,
        "state": state_of(seen.phase),
        "opens_at": seen.opens_at_ms,
        "closes_at": seen.closes_at_ms,
        "now": seen.now_ms,
        "epoch": seen.epoch,
        "version": seen.version,
        "items": [
            {"id": str(item), "name": items.get(item, ""), "left": left}
            for item, left in seen.items.items()
        ],
    }
